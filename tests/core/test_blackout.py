"""Blackout hours: nothing interrupts a charger in them, everything goes on after them, and urgency knows none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors import blackout
from bfactors import command as c
from bfactors.charger import clock
from bfactors.instruction import CloseSession, Reboot
from bfactors.ocpp import Answered
from bfactors.policy import Policy, problems
from tests.core.world import World, fleet_facts

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    hours, minutes = text.split(":")
    return DAY + timedelta(hours=int(hours), minutes=int(minutes))


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize(
    ("hours", "now", "ends"),
    [
        (["05:00-08:30"], "04:59", None),
        (["05:00-08:30"], "05:00", "08:30"),
        (["05:00-08:30"], "08:29", "08:30"),
        (["05:00-08:30"], "08:30", None),
        (["22:00-02:00"], "23:00", "26:00"),
        (["22:00-02:00"], "01:00", "02:00"),
        (["22:00-02:00"], "12:00", None),
        (["05:00-06:00", "06:00-07:00", "06:30-08:00"], "05:30", "08:00"),
        (["05:00-06:00", "05:30-05:40"], "05:35", "06:00"),
        ([], "05:00", None),
    ],
)
def test_a_blackout_ends_when_its_windows_do(hours: list[str], now: str, ends: str | None) -> None:
    assert blackout.ends_at(hours, at(now)) == (None if ends is None else at(ends))


def test_seconds_count() -> None:
    last = at("08:29") + timedelta(seconds=59, microseconds=1)
    assert blackout.ends_at(["05:00-08:30"], last) == at("08:30")


MINUTES = st.integers(0, 1439)


@given(st.lists(st.tuples(MINUTES, MINUTES).filter(lambda pair: pair[0] != pair[1]), max_size=4), MINUTES)
def test_it_ends_at_the_first_free_minute(pairs: list[tuple[int, int]], minute: int) -> None:
    hours = [f"{a // 60:02d}:{a % 60:02d}-{b // 60:02d}:{b % 60:02d}" for a, b in pairs]

    def busy(m: int) -> bool:
        m %= 1440
        return any(a <= m < b if a < b else m >= a or m < b for a, b in pairs)

    whole_day = all(busy(m) for m in range(1440))
    assert (blackout.problem(hours) is not None) == whole_day
    now = DAY + timedelta(minutes=minute)
    if not busy(minute):
        assert blackout.ends_at(hours, now) is None
    elif not whole_day:
        first = next(m for m in range(minute, minute + 1440) if not busy(m))
        assert blackout.ends_at(hours, now) == DAY + timedelta(minutes=first)


@pytest.mark.parametrize("hours", [["5-8"], ["05:00-05:00"], ["24:00-01:00"], ["00:00-12:00", "12:00-00:00"]])
def test_what_are_no_hours_is_refused(hours: list[str]) -> None:
    assert [field for field, _ in problems(Policy(blackout_hours=tuple(hours)))] == ["blackout_hours"]


# ---------------------------------------------------------------- chargers


def blacked_out(**values: object) -> World:
    """A world whose blackout begins in ten minutes and lasts two hours."""
    begins = World().now + timedelta(minutes=10)
    hours = f"{begins:%H:%M}-{begins + timedelta(hours=2):%H:%M}"
    policy = c.SetPolicy(scope="purpose:charging_station", values={"blackout_hours": [hours], **values})
    return World(fleet_facts(policy))


def kinds(world: World) -> list[type]:
    return [type(body) for body in world.orders()]


def test_no_socket_is_closed_in_the_blackout_and_it_is_afterwards() -> None:
    world = blacked_out(reconnect_close_s=1800, reconnect_wait_s=86_400)
    world.to_active()
    world.request("renew", job_id="renewal")
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    world.wait(minutes=60)
    assert kinds(world) == []
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert due > world.now
    world.wait(minutes=72)
    assert kinds(world) == [CloseSession]


def test_a_migration_waits_with_its_reset_and_says_so() -> None:
    world = blacked_out()
    world.wait(minutes=15)
    world.to_installed()
    while Reboot not in kinds(world) and kinds(world):
        world.carry_out()
    job = next(job for job in world.charger.jobs.values() if job.action == "migrate")
    assert (job.stage, job.reason_code) == ("held", "blackout-hours")
    assert job.held_by is not None
    assert job.held_by.startswith("blackout/")
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert world.now < due < world.now + timedelta(hours=2)
    world.wait(hours=2)
    assert kinds(world) == [Reboot]
    world.carry_out(Answered("Accepted"))
    assert world.charger.jobs[job.job_id].waiting_for == "reconnect"


def test_a_certificate_in_its_last_safe_days_knows_no_blackout() -> None:
    world = blacked_out(
        reconnect_close_s=60,
        reconnect_wait_s=86_400,
        last_safe_days=29,
        validity_days=60,
        renew_before_days=30,
    )
    old = world.to_active()
    world.wait(days=32)
    world.connect(3, old.fingerprint_sha256)
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    world.wait(minutes=15)
    assert kinds(world) == [CloseSession]
