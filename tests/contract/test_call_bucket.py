"""One bucket for all nodes: the real one in PostgreSQL and the fake by one suite, and the turnstiles before them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.call_bucket import BucketSize
from bfactors.ports import CallBucket
from bfactors.urgency import Urgency
from gateways.ca.call_limits import AWAY_FOR_S, CUT_OFF_SHARE, CallLimits, scope_of
from gateways.ca.token_bucket import TokenBucket
from gateways.ca.turnstile import Turnstile
from persistence.ca_desk import PostgresCaDesk
from persistence.role import WRITER
from tests.conftest import FreshDatabase
from tests.fakes.ca import ARN, CountedMetrics, LeapingTime, ManualTime
from tests.fakes.call_bucket import FakeCallBucket

pytest_plugins = ("tests.fakes.ledger_database",)

SCOPE = "000000000000/eu-central-1"


@pytest.fixture
async def desk(emptied_ledger_database: FreshDatabase) -> AsyncIterator[PostgresCaDesk]:
    opened = await PostgresCaDesk.reach(emptied_ledger_database.dsn(WRITER), size=4)
    yield opened
    await opened.close()


@pytest.fixture(params=["postgres", "fake"])
def bucket(request: pytest.FixtureRequest) -> CallBucket:
    if request.param == "fake":
        return FakeCallBucket(time.monotonic)
    real: PostgresCaDesk = request.getfixturevalue("desk")
    return real


async def take(
    bucket: CallBucket,
    wanted: int,
    urgency: Urgency,
    *,
    size: BucketSize,
    operation: str = "IssueCertificate",
) -> int:
    kept_back = size.kept_back(urgency)
    return (await bucket.take(SCOPE, operation, size=size, wanted=wanted, kept_back=kept_back)).calls


async def test_some_is_left_to_who_is_in_a_greater_hurry(bucket: CallBucket) -> None:
    size = BucketSize(rate_per_s=0.001, burst=8.0)
    assert await take(bucket, 3, Urgency.ROUTINE, size=size) == 3
    assert await take(bucket, 3, Urgency.ROUTINE, size=size) == 1, "half of it is left"
    assert await take(bucket, 3, Urgency.ROUTINE, size=size) == 0
    assert await take(bucket, 3, Urgency.SOON, size=size) == 2, "a quarter is left"
    assert await take(bucket, 3, Urgency.INCIDENT, size=size) == 2
    assert await take(bucket, 3, Urgency.INCIDENT, size=size) == 0
    other = await take(bucket, 3, Urgency.INCIDENT, size=size, operation="RevokeCertificate")
    assert other == 3, "each operation has its own"


async def test_many_takers_at_once_get_no_more_than_the_burst_and_the_rate_allow(bucket: CallBucket) -> None:
    size = BucketSize(rate_per_s=200.0, burst=10.0)
    began_s = time.monotonic()
    granted = 0

    async def taker() -> None:
        nonlocal granted
        for _ in range(40):
            got = await take(bucket, 2, Urgency.INCIDENT, size=size)
            granted += got

    await asyncio.gather(*(taker() for _ in range(4)))
    took_s = time.monotonic() - began_s
    assert 10 <= granted <= 10 + 200.0 * took_s + 1


async def test_an_empty_bucket_says_how_long_it_takes(bucket: CallBucket) -> None:
    size = BucketSize(rate_per_s=20.0, burst=2.0)
    grant = await bucket.take(SCOPE, "IssueCertificate", size=size, wanted=9, kept_back=0.0)
    assert grant.calls == 2
    assert 0 < size.wait_s(Urgency.INCIDENT, grant.left) <= 0.05


# ---------------------------------------------------------------- the bucket in memory


@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.sampled_from(list(Urgency)), st.integers(1, 5)),
        min_size=1,
        max_size=120,
    ),
    st.floats(0.5, 50),
)
def test_in_any_span_no_more_leaves_than_the_burst_and_the_rate_allow(
    asked: list[tuple[float, Urgency, int]], rate_per_s: float
) -> None:
    size = BucketSize.of_rate(rate_per_s)
    bucket = TokenBucket(size)
    now_s = 5.0
    taken: list[float] = []
    for later_s, urgency, wanted in asked:
        now_s += later_s
        taken += [now_s] * bucket.take(now_s, wanted, size.kept_back(urgency)).calls
    for first, at_s in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= size.burst + (taken[last] - at_s) * rate_per_s + 1e-6


@given(st.floats(0.05, 100), st.sampled_from(list(Urgency)))
def test_the_wait_a_size_names_is_enough_for_everyone(rate_per_s: float, urgency: Urgency) -> None:
    size = BucketSize.of_rate(rate_per_s)
    bucket = TokenBucket(size)
    kept_back = size.kept_back(urgency)
    while (grant := bucket.take(1.0, 1, kept_back)).calls:
        pass
    wait_s = size.wait_s(urgency, grant.left)
    assert wait_s > 0
    assert bucket.take(1.0 + wait_s, 1, kept_back).calls == 1


def test_a_clock_that_steps_back_mints_nothing() -> None:
    bucket = TokenBucket(BucketSize(rate_per_s=1.0, burst=1.0))
    assert bucket.take(100.0, 1, 0.0).calls == 1
    assert bucket.take(50.0, 1, 0.0).calls == 0
    assert bucket.take(51.0, 1, 0.0).calls == 1


def test_a_bucket_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a rate"):
        BucketSize.of_rate(0)


# ---------------------------------------------------------------- queues


async def test_who_is_in_a_hurry_passes_the_queue_and_each_queue_keeps_its_order() -> None:
    manual = ManualTime()
    size = BucketSize(rate_per_s=1.0, burst=4.0)
    bucket = TokenBucket(size)

    async def ask(wanted: int, urgency: Urgency) -> tuple[int, float]:
        grant = bucket.take(manual.monotonic(), wanted, size.kept_back(urgency))
        return grant.calls, size.wait_s(urgency, grant.left)

    turnstile = Turnstile(ask, 4, manual.monotonic, manual.sleep)
    passed: list[str] = []

    async def enter(name: str, urgency: Urgency) -> None:
        await turnstile.enter(urgency)
        passed.append(name)

    async with asyncio.TaskGroup() as crowd:
        for number in range(5):
            crowd.create_task(enter(str(number), Urgency.ROUTINE))
        await manual.advance(0)
        for name, urgency in (("soon", Urgency.SOON), ("!", Urgency.INCIDENT)):
            crowd.create_task(enter(name, urgency))
        await manual.advance(0)
        assert passed == ["0", "1", "soon", "!"]
        await manual.advance(20)
    assert passed == ["0", "1", "soon", "!", "2", "3", "4"]


async def test_calls_that_were_given_up_leave_nothing_behind_that_could_pile_up() -> None:
    manual = ManualTime()
    given = 0

    async def ask(wanted: int, urgency: Urgency) -> tuple[int, float]:
        nonlocal given
        await manual.sleep(0.1)
        given += wanted
        return wanted, 0.0

    turnstile = Turnstile(ask, 10, manual.monotonic, manual.sleep)
    crowd = [asyncio.ensure_future(turnstile.enter(Urgency.ROUTINE)) for _ in range(10)]
    await manual.advance(0.15)
    assert given == 1, "the first asked for itself; the second asks for all behind it"
    for one in crowd[2:]:
        one.cancel()
    await manual.advance(1.0)
    assert [one.done() for one in crowd[:2]] == [True, True]
    assert given == 10
    entered = asyncio.ensure_future(turnstile.enter(Urgency.ROUTINE))
    await manual.advance(0)
    assert not entered.done(), "what was in hand has been given up"
    await manual.advance(0.2)
    assert entered.done()
    assert given == 11


# ---------------------------------------------------------------- limits of a node


async def test_every_operation_has_a_pace_of_its_own_at_any_rate() -> None:
    for calls_per_s in (0.1, 15.0, 25.0):
        leaping = LeapingTime()
        limits = CallLimits(calls_per_s, monotonic=leaping.monotonic, sleep=leaping.sleep)
        await limits.enter(ARN, "IssueCertificate", Urgency.ROUTINE)
        await limits.enter(ARN, "GetCertificate", Urgency.ROUTINE)
        await limits.enter(ARN, "RevokeCertificate", Urgency.INCIDENT)
        assert leaping.elapsed_s == 0


async def test_how_long_a_call_would_wait_can_be_asked_and_takes_nothing() -> None:
    manual = ManualTime()
    shared = FakeCallBucket(manual.monotonic)
    limits, other = (CallLimits(20.0, monotonic=manual.monotonic, sleep=manual.sleep) for _ in range(2))
    for each in (limits, other):
        each.share(shared, CountedMetrics())
    for _ in range(3):
        assert [await limits.wait_s(ARN, "IssueCertificate", urgency) for urgency in Urgency] == [0, 0, 0]
    for _ in range(10):
        await other.enter(ARN, "IssueCertificate", Urgency.INCIDENT)
    waits = [await limits.wait_s(ARN, "IssueCertificate", urgency) for urgency in Urgency]
    assert waits == pytest.approx([1 / 20, 3.5 / 20, 6 / 20])
    await manual.advance(0.18)
    waits = [await limits.wait_s(ARN, "IssueCertificate", urgency) for urgency in Urgency]
    assert waits[:2] == [0, 0]
    assert waits[2] > 0


async def test_two_nodes_together_keep_to_one_rate() -> None:
    manual = ManualTime()
    shared = FakeCallBucket(manual.monotonic)
    left: list[float] = []

    async def call(limits: CallLimits) -> None:
        await limits.enter(ARN, "IssueCertificate", Urgency.ROUTINE)
        left.append(manual.elapsed_s)

    async with asyncio.TaskGroup() as crowd:
        for _ in range(2):
            limits = CallLimits(20.0, monotonic=manual.monotonic, sleep=manual.sleep)
            limits.share(shared, CountedMetrics())
            for _ in range(100):
                crowd.create_task(call(limits))
        await manual.advance(30)
    assert len(left) == 200
    assert 9.0 <= left[-1] <= 12.0, "20 a second, together"
    for begin in range(len(left)):
        within = sum(left[begin] <= at <= left[begin] + 1.0 for at in left)
        assert within <= 25, "never above the account's quota"
    assert shared.asked <= 150, "one question brings several"


async def test_a_node_that_is_cut_off_takes_a_small_share_and_comes_back() -> None:
    manual = ManualTime()
    shared, metrics = FakeCallBucket(manual.monotonic), CountedMetrics()
    limits = CallLimits(20.0, monotonic=manual.monotonic, sleep=manual.sleep)
    limits.share(shared, metrics)
    shared.is_away = True
    left = 0

    async def call() -> None:
        nonlocal left
        await limits.enter(ARN, "IssueCertificate", Urgency.ROUTINE)
        left += 1

    async with asyncio.TaskGroup() as crowd:
        for _ in range(60):
            crowd.create_task(call())
        await manual.advance(20)
        assert 15 <= left <= 20 * 20 * CUT_OFF_SHARE + 2
        assert metrics.gauges["bf_ca_bucket_cut_off",] == 1.0
        assert shared.asked <= 20 / AWAY_FOR_S + 1, "a bucket that is away is left alone for a while"
        shared.is_away = False
        await manual.advance(AWAY_FOR_S + 5)
    assert left == 60
    assert metrics.gauges["bf_ca_bucket_cut_off",] == 0.0


def test_four_nodes_that_are_cut_off_fit_into_what_is_left_of_the_quota() -> None:
    assert 20.0 + 4 * 20.0 * CUT_OFF_SHARE <= 25.0


def test_quotas_are_an_accounts_in_a_region() -> None:
    assert scope_of(ARN) == SCOPE
    assert scope_of(ARN[:-1] + "2") == SCOPE
    assert scope_of(ARN.replace("central", "west")) != SCOPE
    assert scope_of("none") == "none"
