"""What readiness says of a database that is away, slow of clock, or without owners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bfactors.errors import Unavailable
from deploy.role.authority import CaClients
from deploy.role.core_health import CoreHealth
from gateways.ca.call_limits import CallLimits

AT = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)


class StillClock:
    """It is always six in the morning here."""

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "id"


class Partitions:
    """A reader of partitions that are as told."""

    def __init__(self, rows: Sequence[Mapping[str, Any]] | None) -> None:
        self._rows = rows

    async def partitions(self) -> Sequence[Mapping[str, Any]]:
        if self._rows is None:
            raise Unavailable("postgres", "gone")
        return self._rows


def health(rows: Sequence[Mapping[str, Any]] | None) -> CoreHealth:
    return CoreHealth(
        Partitions(rows),
        CaClients(authorities={}, arns={}, limits=CallLimits(monotonic=lambda: 0.0)),
        StillClock(),
    )


def rows(*, ownerless: tuple[int, ...] = (), apart_s: float = 0.0) -> list[dict[str, Any]]:
    database_now = AT + timedelta(seconds=apart_s)
    return [{"number": n, "live": n not in ownerless, "database_now": database_now} for n in range(16)]


async def test_a_lost_database_is_named() -> None:
    assert await health(None).look_at_database() == ("postgres",)


async def test_before_the_first_look_the_database_counts_as_missing() -> None:
    assert health(rows()).missing() == ["postgres"]


async def test_partitions_without_a_live_owner_are_named() -> None:
    found = await health(rows(ownerless=(0, 7))).look_at_database()
    assert found == ("owner-of-partition-00", "owner-of-partition-07")


@pytest.mark.parametrize(
    ("apart_s", "expected"), [(1.9, ()), (2.1, ("database-clock",)), (-2.1, ("database-clock",))]
)
async def test_clocks_more_than_two_seconds_apart_are_named(
    apart_s: float, expected: tuple[str, ...]
) -> None:
    assert await health(rows(apart_s=apart_s)).look_at_database() == expected
