"""AdmissionView, ControlView and what the outbox puts into them keep one contract, over JetStream and in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import msgspec
import pytest

from bfactors.admission import KnownCredential
from gateways.nats.admission_view import NatsAdmissionView
from tests.fakes.nats_sides import (
    AT,
    AWKWARD_NAMES,
    NatsSide,
    Seen,
    a_record,
    in_memory_side,
    jetstream_side,
)
from tests.patience import PATIENCE_S


@pytest.fixture(params=["jetstream", "in-memory"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[NatsSide]:
    if request.param == "in-memory":
        async with in_memory_side() as memory:
            yield memory
    else:
        async with jetstream_side(request.getfixturevalue("nats_server")) as jetstream:
            yield jetstream


async def test_a_view_is_not_ready_before_it_has_seen_the_bucket(side: NatsSide) -> None:
    view = side.admission_view()
    assert not view.ready
    assert view.age_s == math.inf
    assert view.get("CP1") is None


async def test_an_empty_bucket_makes_a_view_ready_too(side: NatsSide) -> None:
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    assert view.ready
    assert view.age_s == 0


async def test_once_ready_a_view_holds_everything_that_was_there(side: NatsSide) -> None:
    records = [a_record(f"CP{number}", 1) for number in range(700)]
    await side.outbox.put_admission(records)
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    assert all(view.get(record.charger_id) == record for record in records)


async def test_awkwardly_named_chargers_have_records_like_all_others(side: NatsSide) -> None:
    await side.outbox.put_admission(a_record(name, 1) for name in AWKWARD_NAMES)
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    assert [view.get(name) for name in AWKWARD_NAMES] == [a_record(name, 1) for name in AWKWARD_NAMES]


async def test_subscribers_are_told_of_newer_records_only(side: NatsSide) -> None:
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    seen = Seen()
    view.subscribe(seen.add)
    for revision in (1, 3, 2, 3, 4):
        await side.outbox.put_admission([a_record("CP1", revision)])
    await seen.until(lambda all_seen: a_record("CP1", 4) in all_seen)
    revisions = [record.revision for record in seen]  # type: ignore[attr-defined]
    assert revisions == sorted(set(revisions))  # a slow view may skip, never step back
    assert 2 not in revisions
    assert view.get("CP1") == a_record("CP1", 4)


async def test_a_denial_reaches_the_view(side: NatsSide) -> None:
    await side.outbox.put_admission([a_record("CP1", 1)])
    view = side.admission_view()
    seen = Seen()
    view.subscribe(seen.add)
    await side.outbox.put_admission([a_record("CP1", 2, "refused")])
    await seen.until(lambda all_seen: a_record("CP1", 2, "refused") in all_seen)


async def test_of_several_revisions_put_at_once_the_newest_stays(side: NatsSide) -> None:
    await asyncio.gather(
        *(side.outbox.put_admission([a_record("CP1", revision)]) for revision in (2, 5, 1, 4, 3))
    )
    view = side.admission_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    assert view.get("CP1") == a_record("CP1", 5)


async def test_the_outbox_works_from_another_lane(side: NatsSide) -> None:
    async def on_a_lane_of_its_own() -> None:
        await side.outbox.put_admission([a_record("CP1", 1)])
        await side.outbox.put_control({"pause": b"1"})

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.to_thread(asyncio.run, on_a_lane_of_its_own())
        view = side.admission_view()
        await view.wait_ready()
    assert view.get("CP1") == a_record("CP1", 1)


async def test_control_tells_late_subscribers_what_they_missed(side: NatsSide) -> None:
    await side.outbox.put_control({"pause.family.a*c": b"1", "fact": b"2"})
    view = side.control_view()
    async with asyncio.timeout(PATIENCE_S):
        await view.wait_ready()
    seen = Seen()
    view.subscribe(seen.add)
    assert sorted(seen, key=str) == [("fact", b"2"), ("pause.family.a*c", b"1")]
    await side.outbox.put_control({"fact": b"3"})
    await seen.until(lambda all_seen: ("fact", b"3") in all_seen)


async def test_what_was_put_has_a_place_that_a_follower_reaches(side: NatsSide) -> None:
    first = await side.outbox.put_admission([a_record("CP1", 1)])
    second = await side.outbox.put_admission([a_record("CP1", 2), a_record("CP2", 1)])
    assert second.has(first)
    assert not first.has(second)
    again = await side.outbox.put_admission([a_record("CP1", 1)])  # the bucket holds a newer one
    assert second.has(again)
    assert again.has(first)


async def test_a_view_says_how_far_it_is_once_nothing_newer_waits(
    request: pytest.FixtureRequest,
) -> None:
    async with jetstream_side(request.getfixturevalue("nats_server")) as side:
        await side.outbox.put_admission([a_record(f"CP{number}", 1) for number in range(700)])
        view = side.admission_view()
        assert isinstance(view, NatsAdmissionView)
        places = Seen()
        view.follow(lambda place, ended: places.add(place, ended, len(view)))
        async with asyncio.timeout(PATIENCE_S):
            await view.wait_ready()
        assert [held for _, _, held in places] == [700]
        put = await side.outbox.put_admission([a_record("CP1", 2, "refused")])
        await places.until(lambda seen: any(place.has(put) for place, _, _ in seen))
        assert not any(ended for _, ended, _ in places)


async def test_a_view_says_that_a_leaf_has_ended(request: pytest.FixtureRequest) -> None:
    async with jetstream_side(request.getfixturevalue("nats_server")) as side:
        view = side.admission_view()
        assert isinstance(view, NatsAdmissionView)
        async with asyncio.timeout(PATIENCE_S):
            await view.wait_ready()
        news = Seen()
        view.follow(lambda _, ended: news.add(ended))
        for revision, state in enumerate(("active", "superseded", "revoked", "revoked"), 1):
            leaf = KnownCredential("ab" * 32, "c", state, AT)  # type: ignore[arg-type]
            record = msgspec.structs.replace(a_record("CP1", revision), credentials=(leaf,))
            count = len(news) + 1
            await side.outbox.put_admission([record])
            await news.until_count(count)
        assert list(news)[-4:] == [False, False, True, False]
