"""A charger's clock: noticed when it is wrong, and when it is right again; a migration waits for it."""

from datetime import UTC, datetime, timedelta

import pytest

from bfactors import clock_offset
from bfactors import evidence as v
from bfactors.ocpp import Relayed
from gateways.ocpp.payload_part import said_at
from tests.core.exchange_bench import BOOT, DAWN, Bench
from tests.core.world import World

OFF = timedelta(hours=3)


def status(offset: timedelta) -> Relayed:
    return Relayed("StatusNotification", b"{}", said_at=DAWN + offset)


def clocks(bench: Bench) -> list[int]:
    return [body.offset_s for body in bench.recorded if isinstance(body, v.ClockSeen)]


def booted() -> Bench:
    bench = Bench()
    bench.store()
    bench.call(BOOT, "boot")
    bench.store()
    return bench


def test_a_clock_that_goes_right_is_told_of_by_nothing() -> None:
    bench = booted()
    for number, seconds in enumerate((-299, 0, 300)):
        bench.call(status(timedelta(seconds=seconds)), f"m{number}")
        assert clocks(bench) == []


def test_one_that_is_wrong_is_told_once_and_once_more_when_it_is_right() -> None:
    bench = booted()
    bench.call(status(OFF), "a")
    assert clocks(bench) == [10800]
    bench.store()
    bench.call(status(OFF), "b")
    assert clocks(bench) == []
    bench.call(status(timedelta(seconds=4)), "c")
    assert clocks(bench) == [4]


@pytest.mark.parametrize(
    ("action", "text", "wanted"),
    [
        ("StatusNotification", "2026-03-01T06:00:00Z", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("StatusNotification", "2026-03-01T07:00:00+01:00", datetime(2026, 3, 1, 6, tzinfo=UTC)),
        ("StatusNotification", "2026-03-01T06:00:00.123", datetime(2026, 3, 1, 6, 0, 0, 123000, tzinfo=UTC)),
        ("StatusNotification", "yesterday", None),
        ("StatusNotification", None, None),
        ("MeterValues", "2026-03-01T06:00:00Z", None),
    ],
)
def test_only_what_is_told_as_it_happens_shows_the_time(
    action: str, text: str | None, wanted: datetime | None
) -> None:
    found = said_at(action, {} if text is None else {"timestamp": text})
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert clock_offset.offset_s(found, wanted) == 0


def test_a_migration_waits_until_the_clock_is_right() -> None:
    world = World()
    world.to_installed()
    session = world.charger.session
    assert session is not None
    world.tell(v.ClockSeen(session_id=session.session_id, offset_s=-86_400))
    case = world.charger.migration
    assert case is not None
    assert case.missing == ("charger-clock-wrong",)
    assert world.orders() == []
    world.tell(v.ClockSeen(session_id=session.session_id, offset_s=2))
    assert world.charger.migration is not None
    assert world.charger.migration.missing == ()
    assert world.orders() != []


def test_a_new_session_begins_with_a_clock_nobody_knows_and_an_old_one_tells_nothing() -> None:
    world = World()
    world.connect()
    session = world.charger.session
    assert session is not None
    world.tell(v.ClockSeen(session_id=session.session_id, offset_s=900))
    assert world.charger.clock is not None
    world.connect()
    assert world.charger.clock is None
    world.tell(v.ClockSeen(session_id=session.session_id, offset_s=900))
    assert world.charger.clock is None
