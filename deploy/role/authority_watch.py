"""Every CA the ledger knows is asked from time to time how it stands; and one that is to become known, what it is."""

import asyncio
import logging
from typing import Protocol

import msgspec

from bfactors import evidence as v
from bfactors.ca import CaError, Permanent
from bfactors.command import RegisterAuthority
from bfactors.errors import Unavailable
from bfactors.fleet.authority import every
from bfactors.fleet.state import Authority, FleetState
from bfactors.identity import FLEET
from bfactors.ledger_fold import FLEET_KEY
from bfactors.ledger_row import AggregateRow
from bfactors.ports import Clock, EvidenceLog, Metrics
from bfactors.refusal import Refusal
from bfactors.revocation_list import SeenList
from deploy.role.authority import CaClients
from deploy.role.revocation_desk import SeenLists
from gateways.ca.discovery import register_command

_LOG = logging.getLogger(__name__)
EVERY_S = 900.0
AGAIN_S = 30.0
"""Within this a CA that was made known on another node is one whose audit reports can be had here."""
_STATE = msgspec.json.Decoder(FleetState)


class FleetReader(Protocol):
    """Raises Unavailable."""

    async def aggregate(self, partition: int, key: str) -> AggregateRow | None: ...


class AuthorityWatch:
    """I/O lane. Every core node asks; what one says of the same state is the same evidence."""

    def __init__(
        self,
        reader: FleetReader,
        ca: CaClients,
        evidence: EvidenceLog,
        clock: Clock,
        metrics: Metrics,
        lists: SeenLists,
    ) -> None:
        self._reader = reader
        self._ca = ca
        self._evidence = evidence
        self._clock = clock
        self._metrics = metrics
        self._lists = lists

    async def run(self) -> None:
        """Until cancelled."""
        looks_at_s = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() < looks_at_s:
                    await self.learn()
                else:
                    await self.look()
                    looks_at_s = self._clock.monotonic() + EVERY_S
            except Unavailable as away:
                _LOG.info("the CAs are not asked how they stand: %s", away)
            await asyncio.sleep(AGAIN_S)

    async def learn(self) -> FleetState:
        """Which CAs there are, without asking any. Raises Unavailable."""
        row = await self._reader.aggregate(FLEET, FLEET_KEY)
        state = FleetState() if row is None else _STATE.decode(row.state)
        for authority in every(state.facts):
            self._ca.know(authority.purpose, authority.arn)
        return state

    async def look(self) -> None:
        """Ask each once. Raises Unavailable."""
        state = await self.learn()
        for authority in every(state.facts):
            await self._ask(authority)
        for rollover in state.facts.rollovers.values():
            self._metrics.gauge(
                "bf_ca_rollover_step_timestamp_seconds", rollover.since.timestamp(), purpose=rollover.purpose
            )

    async def _ask(self, authority: Authority) -> None:
        labels = {"purpose": authority.purpose, "authority_id": authority.authority_id}
        self._metrics.gauge(
            "bf_authority_expiry_timestamp_seconds", authority.not_after.timestamp(), **labels
        )
        client = self._ca.authorities.get(authority.purpose)
        if client is None:
            return
        try:
            described = await client.describe(authority.arn)
        except CaError as problem:
            _LOG.warning("the CA %s does not say how it stands: %s", authority.arn, problem)
            return
        self._metrics.gauge("bf_authority_active", 1 if described.is_active else 0, **labels)
        if described.status == authority.status:
            return
        body = v.AuthorityObserved(
            purpose=authority.purpose, authority_arn=authority.arn, status=described.status
        )
        evidence = v.Evidence(
            evidence_id=v.evidence_id("authority", authority.arn, described.status, self._clock.new_id()),
            charger_id="",
            source="ca",
            observed_at=self._clock.now(),
            body=body,
        )
        await self._evidence.append(evidence, FLEET)

    async def described(self, purpose: str, authority_arn: str) -> RegisterAuthority | Refusal:
        """The admin API's `AuthorityDesk`. Raises Unavailable."""
        client = self._ca.authorities.get(purpose)
        if client is None:
            message = f"no CA of {purpose} is in settings, so no role is known to ask one under"
            return Refusal("no-ca-here", message, "purpose", 409)
        try:
            described = await client.describe(authority_arn)
        except Permanent as problem:
            return Refusal("authority-cannot-be-read", str(problem), "authority_arn", 409)
        except CaError as problem:
            raise Unavailable(f"the CA does not answer: {problem}") from problem
        if not described.is_active:
            return Refusal(
                "authority-not-active", f"the CA says it is {described.status}", "authority_arn", 409
            )
        self._ca.know(purpose, authority_arn)
        return register_command(purpose, described)

    def list_of(self, authority_arn: str) -> SeenList | None:
        """Of the admin API's `AuthorityDesk` too: how the CA's list stood when this node last read it."""
        return self._lists.of(authority_arn)
