"""What whoever is to agree to a rollover's step sees: the two CAs themselves, and what stands in the step's way now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bfactors.command import AdvanceRollover, StartRollover
from bfactors.fleet import rollover
from bfactors.fleet.approvable.rollover import KIND
from bfactors.fleet.state import Authority, FleetFacts
from bfactors.ports import Clock
from bfactors.refusal import Refusal
from bfactors.x509 import parse_certificates
from gateways.admin.fleet import Fleet
from gateways.admin.ports import Body, Reader

_Step = StartRollover | AdvanceRollover


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the way of the next step."""

    code: str
    message: str


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """A CA by its certificate; `root_sha256` as it was registered with it, null if it was not."""

    authority_id: str
    authority_arn: str
    fingerprint_sha256: str
    root_sha256: str | None
    not_after: datetime


class HeldRollover(msgspec.Struct, frozen=True, kw_only=True):
    """A step that waits. `leaving` and `to` null: that CA is not known any more. `waiting_for`: why it would be refused."""

    leaving: Side | None
    to: Side | None
    waiting_for: list[Obstacle]


async def load_of(reader: Reader, arn: str, now: datetime) -> dict[str, int]:
    """`certificates` and `orders` that hang on a CA, and what every partition had heard then. Raises Unavailable."""
    (row,) = await reader.authority_load([arn], now)
    return {name: int(row[name] or 0) for name in ("certificates", "orders", "heard_sequence")}


async def ageing(reader: Reader, arn: str, now: datetime) -> dict[str, int]:
    """The fields of `AdvanceRollover` that the projections tell. Raises Unavailable."""
    load = await load_of(reader, arn, now)
    return {"hanging": load["certificates"] + load["orders"], "heard_sequence": load["heard_sequence"]}


class RolloverSight:
    """Of both kinds of step that are held. Raises Unavailable."""

    kind = KIND.name

    def __init__(self, reader: Reader, fleet: Fleet, clock: Clock) -> None:
        self._reader = reader
        self._fleet = fleet
        self._clock = clock

    async def shown(self, content: Mapping[str, Any]) -> Body:
        """`rollover`: the CAs and the obstacles."""
        command = _command(content)
        facts = (await self._fleet.state()).facts
        leaving_id, to_id, obstacles = (
            self._start(facts, command)
            if isinstance(command, StartRollover)
            else await self._advance(facts, command)
        )
        sides = (rollover.side(facts, command.purpose, each) for each in (leaving_id, to_id))
        leaving, to = (None if each is None else _side(each) for each in sides)
        waiting_for = [{"code": code, "message": message} for code, message in obstacles]
        return {"rollover": {"leaving": leaving, "to": to, "waiting_for": waiting_for}}

    def _start(self, facts: FleetFacts, command: StartRollover) -> tuple[str, str, list[tuple[str, str]]]:
        current = facts.authorities.get(command.purpose)
        leaving_id = command.leaving_id or (current.authority_id if current is not None else "")
        found = rollover.sides(facts, command, self._clock.now())
        obstacles = [(found.code, found.message)] if isinstance(found, Refusal) else []
        return leaving_id, command.to_id, obstacles

    async def _advance(
        self, facts: FleetFacts, command: AdvanceRollover
    ) -> tuple[str, str, list[tuple[str, str]]]:
        under_way = facts.rollovers.get(command.purpose)
        if under_way is None:
            return "", "", []
        now = self._clock.now()
        load = await ageing(self._reader, under_way.leaving_arn, now)
        obstacles = rollover.waiting(facts, under_way, load["hanging"], load["heard_sequence"], now)
        return under_way.leaving_id, under_way.to_id, list(obstacles)

    async def afresh(self, content: Mapping[str, Any]) -> dict[str, int]:
        """What hangs on the CA that is left now, and what every partition has heard."""
        command = _command(content)
        under_way = (await self._fleet.state()).facts.rollovers.get(command.purpose)
        if isinstance(command, StartRollover) or under_way is None:
            return {}
        return await ageing(self._reader, under_way.leaving_arn, self._clock.now())


def _command(content: Mapping[str, Any]) -> _Step:
    found: _Step = msgspec.convert(content, StartRollover | AdvanceRollover)
    return found


def _side(authority: Authority) -> Side:
    root = parse_certificates(authority.root_pem)[0].fingerprint_sha256 if authority.root_pem else None
    return Side(
        authority_id=authority.authority_id,
        authority_arn=authority.arn,
        fingerprint_sha256=authority.fingerprint_sha256,
        root_sha256=root,
        not_after=authority.not_after,
    )
