"""What an incident that waits for a second person would reach, as it is at the moment: its selection is a rule, not a list."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bfactors.approval import Approval
from bfactors.command import OpenIncident
from bfactors.fleet.approvable.incident import KIND
from bfactors.fleet.approval import held_command
from bfactors.incident import Selector
from bfactors.ports import Clock
from gateways.admin.ports import Body, Reader


class ByFamily(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates of one family's chargers."""

    family: str
    certificates: int


class ByAuthority(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates of one CA; an empty id: others issued them."""

    issuing_ca_id: str
    certificates: int


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule chooses at the moment. `connected`: certificates whose chargers are."""

    at: datetime
    certificates: int
    connected: int
    families: list[ByFamily]
    issuing_cas: list[ByAuthority]


def held_incident(approvals: Mapping[str, Approval], incident_id: str) -> OpenIncident | None:
    """The incident with this id that waits for a second person."""
    for approval in approvals.values():
        if approval.kind == KIND.name and approval.state == "open":
            command: OpenIncident = held_command(approval)
            if command.incident_id == incident_id:
                return command
    return None


class IncidentSight:
    """Counts by the same rule as the forecast, in the projections. Raises Unavailable."""

    kind = KIND.name

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def shown(self, content: Mapping[str, Any]) -> Body:
        """`selection`: the certificates that would go if somebody agreed now."""
        now: datetime = self._clock.now()
        rows = await self._rows(content, now)
        families, issuing_cas = Counter[str](), Counter[str]()
        for row in rows:
            families[row["family"]] += row["certificates"]
            issuing_cas[row["issuing_ca_id"]] += row["certificates"]
        return {
            "selection": {
                "at": now,
                "certificates": families.total(),
                "connected": sum(row["connected"] for row in rows),
                "families": [
                    {"family": name, "certificates": count} for name, count in sorted(families.items())
                ],
                "issuing_cas": [
                    {"issuing_ca_id": arn, "certificates": count}
                    for arn, count in sorted(issuing_cas.items())
                ],
            }
        }

    async def afresh(self, content: Mapping[str, Any]) -> dict[str, int]:
        """`agreed`: how many they are."""
        rows = await self._rows(content, self._clock.now())
        return {"agreed": sum(row["certificates"] for row in rows)}

    async def _rows(self, content: Mapping[str, Any], now: datetime) -> Sequence[Mapping[str, Any]]:
        selector = msgspec.convert(content["selector"], Selector)
        return await self._reader.incident_selection_counts(selector, now)
