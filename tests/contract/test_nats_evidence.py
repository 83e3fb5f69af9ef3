"""EvidenceLog and EvidenceReader keep one contract, over JetStream and in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from bfactors.evidence import Evidence, HandshakeFailed, NodeLost
from bfactors.identity import FLEET, partition_of
from tests.fakes.nats_sides import (
    AT,
    AWKWARD_NAMES,
    NatsSide,
    a_csr,
    in_memory_side,
    jetstream_side,
    read_positions,
    read_some,
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


async def test_appended_evidence_is_read_back_as_it_was(side: NatsSide) -> None:
    await side.log.append(a_csr("CP1"))
    assert await read_some(side.reader, partition_of("CP1"), 0, 1) == [a_csr("CP1")]


async def test_evidence_of_awkwardly_named_chargers_reaches_their_partitions(side: NatsSide) -> None:
    for name in AWKWARD_NAMES:
        await side.log.append(a_csr(name))
    for name in AWKWARD_NAMES:
        partition = partition_of(name)
        same = [other for other in AWKWARD_NAMES if partition_of(other) == partition]
        assert a_csr(name) in await read_some(side.reader, partition, 0, len(same))


async def test_evidence_about_an_address_goes_to_the_fleet_partition(side: NatsSide) -> None:
    fact = Evidence(
        evidence_id="h",
        charger_id="",
        source="node:n",
        observed_at=AT,
        body=HandshakeFailed(remote_address="192.0.2.1", count=3),
    )
    await side.log.append(fact)
    assert await read_some(side.reader, FLEET, 0, 1) == [fact]


async def test_a_named_partition_takes_the_fact_and_each_partition_takes_it_once(side: NatsSide) -> None:
    fact = Evidence(
        evidence_id="lost",
        charger_id="",
        source="node:n",
        observed_at=AT,
        body=NodeLost(node="n", incarnation="i"),
    )
    for partition in (1, 2, 2, 0):
        await side.log.append(fact, partition)
    await side.log.append(a_csr("CP1"), 2)
    assert await read_some(side.reader, 1, 0, 1) == [fact]
    assert await read_some(side.reader, FLEET, 0, 1) == [fact]
    assert await read_some(side.reader, 2, 0, 2) == [fact, a_csr("CP1")]


async def test_the_same_evidence_appended_twice_is_stored_once(side: NatsSide) -> None:
    for number in (1, 1, 2, 1):
        await side.log.append(a_csr("CP1", number))
    found = await read_some(side.reader, partition_of("CP1"), 0, 2)
    assert found == [a_csr("CP1", 1), a_csr("CP1", 2)]


async def test_reading_starts_behind_the_position_given(side: NatsSide) -> None:
    for number in range(5):
        await side.log.append(a_csr("CP1", number))
    first = await read_positions(side.reader, partition_of("CP1"), 0, 5)
    later = await read_positions(side.reader, partition_of("CP1"), first[2][0], 2)
    assert later == first[3:]


async def test_positions_grow_and_skip_nothing_over_many_batches(side: NatsSide) -> None:
    await asyncio.gather(*(side.log.append(a_csr("CP1", number)) for number in range(1200)))
    found = await read_positions(side.reader, partition_of("CP1"), 0, 1200)
    positions = [position for position, _ in found]
    assert positions == list(range(positions[0], positions[0] + 1200))
    assert len({evidence.evidence_id for _, evidence in found}) == 1200


async def test_a_batch_is_never_longer_than_500(side: NatsSide) -> None:
    await asyncio.gather(*(side.log.append(a_csr("CP1", number)) for number in range(1100)))
    batches = side.reader.read(partition_of("CP1"), 0)
    read = 0
    async with asyncio.timeout(PATIENCE_S):
        async for batch in batches:
            assert 0 < len(batch) <= 500
            read += len(batch)
            if read == 1100:
                break
    await batches.aclose()  # type: ignore[attr-defined]


async def test_a_waiting_reader_gets_evidence_as_it_arrives(side: NatsSide) -> None:
    batches = side.reader.read(partition_of("CP1"), 0)
    waiting = asyncio.ensure_future(anext(batches))
    async with asyncio.timeout(PATIENCE_S):
        await side.log.append(a_csr("CP1"))
        ((_, raw),) = await waiting
    assert msgspec.json.decode(raw, type=Evidence) == a_csr("CP1")
    await batches.aclose()  # type: ignore[attr-defined]


async def test_two_readers_of_a_partition_each_read_everything(side: NatsSide) -> None:
    await side.log.append(a_csr("CP1"))
    one, other = await asyncio.gather(*(read_some(side.reader, partition_of("CP1"), 0, 1) for _ in range(2)))
    assert one == other == [a_csr("CP1")]


async def test_evidence_is_appended_and_read_from_another_lane_as_well(side: NatsSide) -> None:
    async def on_a_lane_of_its_own() -> list[Evidence]:
        await asyncio.gather(*(side.log.append(a_csr("CP1", number)) for number in range(300)))
        return await read_some(side.reader, partition_of("CP1"), 0, 300)

    async with asyncio.timeout(PATIENCE_S):
        found = await asyncio.to_thread(asyncio.run, on_a_lane_of_its_own())
    assert {evidence.evidence_id for evidence in found} == {
        a_csr("CP1", number).evidence_id for number in range(300)
    }


async def test_a_reader_on_another_lane_can_be_cancelled_while_it_waits(side: NatsSide) -> None:
    async def on_a_lane_of_its_own() -> bool:
        batches = side.reader.read(partition_of("CP1"), 0)
        await side.log.append(a_csr("CP1"))
        await anext(batches)
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await batches.aclose()  # type: ignore[attr-defined]
        return waiting.cancelled()

    async with asyncio.timeout(PATIENCE_S):
        assert await asyncio.to_thread(asyncio.run, on_a_lane_of_its_own())
