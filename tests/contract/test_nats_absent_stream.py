"""A stream that nobody has made yet: waited for without a warning at first, and warned of when that lasts."""

import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from deploy.embedded import EmbeddedNats
from gateways.nats.ordered_stream import ABSENT_TRIES, OrderedStream
from tests.fakes.nats_sides import JetStreamSide, jetstream_side


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_it_is_waited_for_quietly_then_warned_of_once_and_read_when_it_is_there(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateways.nats.ordered_stream")
    told: dict[int, list[str]] = {}

    async def wait(seconds: float) -> None:
        told[len(told) + 1] = warnings(caplog)
        if len(told) == ABSENT_TRIES + 3:
            config = {"name": "KV_late", "subjects": ["$KV.late.>"], "storage": "memory"}
            made = await side.core.replies.request(
                "$JS.API.STREAM.CREATE.KV_late", msgspec.json.encode(config), 5.0
            )
            assert "error" not in msgspec.json.decode(made.payload)

    stream = OrderedStream(
        side.core.connection, side.core.replies, "KV_late", start="last-per-subject", wait=wait
    )
    batches = stream.batches()
    assert (await anext(batches)).caught_up
    await batches.aclose()
    assert told[ABSENT_TRIES] == []
    assert len(told[ABSENT_TRIES + 1]) == len(told[ABSENT_TRIES + 3]) == 1
    said = [record.getMessage() for record in caplog.records if "is waited for" in record.getMessage()]
    assert len(said) == 1


async def test_one_that_was_there_and_has_gone_is_warned_of_at_once(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait(seconds: float) -> None:
        raise InterruptedError

    stream = OrderedStream(
        side.core.connection, side.core.replies, "KV_gone", start="last-per-subject", wait=wait
    )
    stream._created = "2026-03-01T12:00:00Z"
    batches = stream.batches()
    with pytest.raises(InterruptedError):
        await anext(batches)
    assert any("KV_gone cannot be read" in each for each in warnings(caplog))
