"""What the fleet partition must know at start: the issuing CAs, the first bundle of each purpose, policy from settings.

Every command may be sent again at each start: what is known already changes nothing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bfactors.command import Command, CommandEnvelope, CreateTrustAnchorBundle, RegisterAuthority, SetPolicy
from bfactors.errors import SettingsError, Unavailable
from bfactors.evidence import evidence_id
from bfactors.fleet.bundle import default_bundle_id
from bfactors.fleet.policy import changed, refusal_of
from bfactors.fleet.state import FleetFacts
from bfactors.identity import FLEET
from bfactors.policy import PolicyOverride
from bfactors.ports import Clock, CommandDoor

_LOG = logging.getLogger(__name__)
RETRY_S = 0.5
ACTOR = "system:start"


async def tell_fleet(
    commands: CommandDoor,
    clock: Clock,
    *,
    authorities: Sequence[RegisterAuthority],
    bundles: Mapping[str, tuple[str, ...]],
    policy: dict[str, dict[str, Any]],
) -> None:
    """Register what settings and the CAs say; waits for the fleet partition's owner as long as it takes.

    Raises SettingsError if the ledger refuses one of them.
    """
    orders: list[Command] = list(authorities)
    orders += [
        CreateTrustAnchorBundle(
            bundle_id=default_bundle_id(purpose, roots),
            purpose=purpose,
            anchors_pem=roots,
            note="made by the system: the roots of its CAs",
        )
        for purpose, roots in bundles.items()
    ]
    orders += [SetPolicy(scope=scope, values=values, reason="settings") for scope, values in policy.items()]
    for order in orders:
        await _send(commands, clock, order)


def check_policy(policy: dict[str, dict[str, Any]], now: datetime) -> None:
    """Refuse, before anything is started, what no fleet could take: a scope that cannot be, a field there is not.

    Raises SettingsError.
    """
    facts = FleetFacts()
    for scope, values in policy.items():
        override = PolicyOverride(scope=scope, values=values)
        refusal = refusal_of(facts, override, now)
        if refusal is not None:
            raise SettingsError(f"policy: {scope}: {refusal.message}")
        facts = FleetFacts(policies=changed(facts.policies, override, facts.policies.version))


async def _send(commands: CommandDoor, clock: Clock, order: Command) -> None:
    envelope = CommandEnvelope(
        command_id=evidence_id(ACTOR, type(order).__name__, clock.new_id()),
        actor=ACTOR,
        role="system",
        body=order,
    )
    while True:
        try:
            answer = await commands.request(FLEET, envelope)
        except Unavailable:
            await asyncio.sleep(RETRY_S)
            continue
        if answer.refusal is not None:
            raise SettingsError(f"{type(order).__name__}: {answer.refusal.message}")
        if not answer.retry:
            return
        await asyncio.sleep(RETRY_S)
