"""Effects find the child that carries them out, however often it is made anew."""

import asyncio
from collections.abc import Iterator

import pytest

from actors.issuance.message import Settled, Wanted
from actors.mailbox import Mailbox
from bfactors.effect import Effect, StartRenewal
from supervisors.child import Lost, Restarted, Started
from supervisors.effect_router import EffectRouter
from supervisors.lane import Lane
from tests.patience import PATIENCE_S


class Child(Mailbox[Wanted | Settled]):
    """Writes down what it is told."""

    def __init__(self, told: list[Wanted | Settled], capacity: int = 8) -> None:
        super().__init__("child", capacity=capacity)
        self.told = told

    async def receive(self, message: Wanted | Settled) -> None:
        self.told.append(message)


@pytest.fixture
def lane() -> Iterator[Lane]:
    made = Lane.open("effects")
    yield made
    made.close()
    assert made.join(PATIENCE_S)


def effect(number: int, purpose: str = "charging_station") -> StartRenewal:
    return StartRenewal(
        effect_id=f"e{number}",
        charger_id="CP-1",
        purpose=purpose,
        certificate_id="c",
        job_id="j",
        due_reason="renewal-window",
    )


def make_router() -> EffectRouter:
    def choose(wanted: Effect) -> str | None:
        return wanted.purpose

    return EffectRouter(choose, Wanted, Settled)


def make_child(lane: Lane, told: list[Wanted | Settled]) -> Child:
    async def make() -> Child:
        return Child(told)

    return lane.run(make()).result(PATIENCE_S)


def flush(lane: Lane) -> None:
    """Everything submitted so far has been handled."""

    async def rest() -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    lane.run(rest()).result(PATIENCE_S)


def test_what_was_wanted_before_a_child_was_there_is_given_when_it_is(lane: Lane) -> None:
    router, told = make_router(), list[Wanted | Settled]()
    router("e1", effect(1))
    router("e2", effect(2, "backend_server"))
    router.notified("charging_station")(Started("x", make_child(lane, told), lane))
    flush(lane)
    assert told == [Wanted(effect(1))]


def test_a_child_made_anew_is_given_all_that_is_still_owed_and_nothing_settled(lane: Lane) -> None:
    router, first, second = make_router(), list[Wanted | Settled](), list[Wanted | Settled]()
    notice = router.notified("charging_station")
    notice(Started("x", make_child(lane, first), lane))
    for number in (1, 2, 3):
        router(f"e{number}", effect(number))
    router("e2", None)
    flush(lane)
    assert first == [Wanted(effect(1)), Wanted(effect(2)), Wanted(effect(3)), Settled("e2")]
    notice(Restarted("x", make_child(lane, second), lane, "crashed"))
    flush(lane)
    assert second == [Wanted(effect(1)), Wanted(effect(3))]


def test_a_lost_childs_effects_wait_for_the_next_one(lane: Lane) -> None:
    router, first, second = make_router(), list[Wanted | Settled](), list[Wanted | Settled]()
    notice = router.notified("charging_station")
    notice(Started("x", make_child(lane, first), lane))
    notice(Lost("x", "restarts used up"))
    router("e1", effect(1))
    flush(lane)
    assert first == []
    notice(Started("x", make_child(lane, second), lane))
    flush(lane)
    assert second == [Wanted(effect(1))]


def test_what_nobody_ever_wanted_is_settled_without_a_word(lane: Lane) -> None:
    router, told = make_router(), list[Wanted | Settled]()
    router.notified("charging_station")(Started("x", make_child(lane, told), lane))
    router("never", None)
    flush(lane)
    assert told == []


def test_an_effect_that_learned_something_is_given_in_its_newest_form(lane: Lane) -> None:
    router, told = make_router(), list[Wanted | Settled]()
    router("e1", effect(1))
    newer = StartRenewal(
        effect_id="e1",
        charger_id="CP-1",
        purpose="charging_station",
        certificate_id="c",
        job_id="j",
        due_reason="last-safe-days",
    )
    router("e1", newer)
    router.notified("charging_station")(Started("x", make_child(lane, told), lane))
    flush(lane)
    assert told == [Wanted(newer)]
