"""What there is, as tables or as JSON: chargers, jobs, families."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.ctl.client import AdminClient, Body


@dataclass(frozen=True, slots=True)
class Listing:
    """One resource as a table: where it is, its heads, and a row's cells."""

    path: str
    heads: tuple[str, ...]
    cells: Callable[[Body], tuple[str, ...]]

    async def rows(self, client: AdminClient, query: Mapping[str, str], limit: int) -> list[Body]:
        """Raises Refused, Unavailable."""
        return await client.items(self.path, query, limit)


def _text(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _charger(body: Body) -> tuple[str, ...]:
    session = body["session"] or {}
    return (
        body["charger_id"],
        body["family"],
        body["cohort"],
        str(body["security_profile"]),
        _text(session.get("ocpp_version")),
        "yes" if session else "no",
    )


def _job(body: Body) -> tuple[str, ...]:
    reason = body["reason"] or {}
    return (
        body["job_id"][:12],
        _text(body["charger_id"]),
        body["action"],
        body["state"],
        body["stage"],
        _text(reason.get("code") or body["waiting_for"]),
    )


def _family(body: Body) -> tuple[str, ...]:
    qualified = body["qualification"]
    capabilities = ", ".join(
        name if value is True else f"{name}={value}"
        for name, value in body["capabilities"].items()
        if value not in (None, False, [], ())
    )
    if qualified is None:
        return (body["family"], "no", "-", "-", _text(capabilities))
    outcome = "passed" if qualified["passed"] else "failed"
    return (body["family"], outcome, qualified["firmware"], qualified["at"][:10], _text(capabilities))


LISTINGS = {
    "chargers": Listing(
        "/api/v1/chargers", ("charger", "family", "cohort", "profile", "ocpp", "connected"), _charger
    ),
    "jobs": Listing("/api/v1/jobs", ("job", "charger", "action", "state", "stage", "why"), _job),
    "families": Listing(
        "/api/v1/families", ("family", "qualified", "firmware", "on", "capabilities"), _family
    ),
}
