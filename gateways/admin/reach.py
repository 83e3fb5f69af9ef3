"""What a token that is limited to cohorts reaches at this edge: one table, operation by kind of reach.

An operation that is not in the table and has no charger in its path is about the whole fleet, and out of a limited token's
reach. What a command may change is checked again where it is decided (`bfactors.reach`).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Literal

import msgspec

from bfactors.reach import fleet_wide, other_cohort
from gateways.admin.ports import Body, Reader, Token
from gateways.admin.problem import Problem
from gateways.admin.route import Call

Reach = Literal["anybody", "one", "named", "listed", "fleet"]
"""`anybody`: says nothing of a charger, or the ledger checks it. `one`: about what its path or query names. `named`: must be
narrowed down to one cohort or charger. `listed`: a list that its handler narrows down."""

REACH: Mapping[str, Reach] = {
    **dict.fromkeys(
        ("chargers.register", "imports.run", "jobs.open", "waivers.request", "approvals.withdraw"), "anybody"
    ),
    **dict.fromkeys(("supervisors.list", "supervisors.pause", "supervisors.resume"), "anybody"),
    **dict.fromkeys(("supervisors.drain", "policies.list", "purposes.list"), "anybody"),
    **dict.fromkeys(("families.list", "families.get", "server_certificates.list"), "anybody"),
    **dict.fromkeys(("trust_anchor_bundles.list", "trust_anchor_bundles.get"), "anybody"),
    **dict.fromkeys(("jobs.get", "jobs.cancel", "policies.effective"), "one"),
    **dict.fromkeys(("certificates.get", "certificates.revoke", "certificates.deactivate"), "one"),
    **dict.fromkeys(("approvals.get", "approvals.approve", "approvals.reject"), "one"),
    **dict.fromkeys(("logs.get", "logs.content"), "one"),
    **dict.fromkeys(("lockouts.list", "lockouts.counts", "renewals.list"), "named"),
    **dict.fromkeys(("chargers.list", "jobs.list", "certificates.list", "approvals.list"), "listed"),
    **dict.fromkeys(("migrations.list", "logs.list", "security_events.list"), "listed"),
    **dict.fromkeys(
        ("authorization_keys.list", "waivers.list", "waivers.get", "incidents.targets"), "listed"
    ),
}


def reach_of(operation: str, path: str) -> Reach:
    """How an operation is limited."""
    return REACH.get(operation, "one" if "{charger_id}" in path else "fleet")


def cohorts_of(call: Call) -> dict[str, Any]:
    """What narrows a reader's list down to what the token reaches; nothing for one that is not limited."""
    cohorts = call.token.cohorts if call.token is not None else None
    return {} if cohorts is None else {"cohorts": list(cohorts)}


class Limits:
    """Holds requests of limited tokens against the table. Raises Problem, Unavailable."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._owners: Mapping[str, Callable[[str], Awaitable[Body | None]]] = {
            "charger_id": reader.charger,
            "job_id": reader.job,
            "certificate_id": reader.certificate,
            "approval_id": reader.approval,
            "log_id": reader.log,
        }

    def check_operation(self, operation: str, route_path: str, token: Token | None) -> None:
        """Refuse what is about the whole fleet, before anything else of the request is looked at."""
        if token is None or token.cohorts is None:
            return
        if reach_of(operation, route_path) == "fleet":
            raise Problem.of_refusal(fleet_wide(token.cohorts))

    async def check(
        self,
        operation: str,
        route_path: str,
        token: Token | None,
        path: Mapping[str, str],
        query: msgspec.Struct | None,
    ) -> None:
        """Refuse what the token does not reach; what does not exist is left to its handler."""
        if token is None or token.cohorts is None:
            return
        match reach_of(operation, route_path):
            case "one":
                await self._one(token.cohorts, path, query)
            case "named":
                await self._named(token.cohorts, query)
            case _:
                pass

    async def _one(
        self, cohorts: Collection[str], path: Mapping[str, str], query: msgspec.Struct | None
    ) -> None:
        names = {**_texts(query), **path}
        for name, find in self._owners.items():
            if name in names:
                found = await find(names[name])
                if found is not None:
                    await self._of(cohorts, found)
                return
        raise Problem.of_refusal(fleet_wide(cohorts))

    async def _of(self, cohorts: Collection[str], found: Body) -> None:
        charger = found
        if "cohort" not in found:
            charger_id = found.get("charger_id")
            owner = await self._reader.charger(charger_id) if charger_id is not None else None
            if owner is None:
                raise Problem.of_refusal(fleet_wide(cohorts))
            charger = owner
        if charger["cohort"] not in cohorts:
            raise Problem.of_refusal(other_cohort(cohorts))

    async def _named(self, cohorts: Collection[str], query: msgspec.Struct | None) -> None:
        names = _texts(query)
        if "cohort" in names:
            if names["cohort"] not in cohorts:
                raise Problem.of_refusal(other_cohort(cohorts))
            return
        if "charger_id" in names:
            await self._one(cohorts, {}, query)
            return
        raise Problem.of_refusal(fleet_wide(cohorts))


def _texts(query: msgspec.Struct | None) -> dict[str, str]:
    if query is None:
        return {}
    return {name: value for name in query.__struct_fields__ if isinstance(value := getattr(query, name), str)}
