"""Snapshots of connected chargers, from connect's account to core's memory over a real server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from bfactors import subject
from deploy.embedded import EmbeddedNats
from gateways.nats.seen import CHARGERS_PER_MESSAGE, REMEMBERED, SeenReporter, SeenWatch
from tests.fakes.nats_sides import AT, AWKWARD_NAMES, JetStreamSide, Seen, jetstream_side


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


class HandClock:
    def __init__(self) -> None:
        self.at = AT

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0

    def new_id(self) -> str:
        raise NotImplementedError


class Minutes:
    """The reporter's waiting, passed by hand."""

    def __init__(self) -> None:
        self._pass = asyncio.Event()
        self.asked = Seen()

    async def wait(self, seconds: float) -> None:
        self._pass.clear()
        self.asked.add(seconds)
        await self._pass.wait()

    def pass_one(self) -> None:
        self._pass.set()


class Told:
    """A watch on core's side and the reporter of one node."""

    def __init__(self, side: JetStreamSide) -> None:
        self.clock = HandClock()
        self.minutes = Minutes()
        self.connected: list[str] = []
        self.watch = SeenWatch(side.core.connection, self.clock)
        self.reporter = SeenReporter(
            side.connect.connection, "no.de", "inc 1", lambda: self.connected, wait=self.minutes.wait
        )
        self._side = side

    async def begin(self) -> None:
        await self.watch.start()
        await self._side.core.connection.flush()
        self.reporter.start()
        await self.minutes.asked.until_count(1)

    async def minute(self) -> None:
        """One passes, and what is told in it has arrived."""
        asked = len(self.minutes.asked)
        self.minutes.pass_one()
        await self.minutes.asked.until_count(asked + 1)
        await self._side.connect.connection.flush()
        await self._side.core.connection.flush()

    async def end(self) -> None:
        await self.reporter.stop()
        await self.watch.stop()


@pytest.fixture
async def told(side: JetStreamSide) -> AsyncIterator[Told]:
    told = Told(side)
    await told.begin()
    yield told
    await told.end()


async def test_a_connected_charger_is_seen_once_a_minute(told: Told) -> None:
    assert told.minutes.asked == [60.0]
    told.connected = list(AWKWARD_NAMES)
    await told.minute()
    assert {name: told.watch.last_seen(name) for name in AWKWARD_NAMES} == dict.fromkeys(AWKWARD_NAMES, AT)
    told.connected = ["CP.1"]
    told.clock.at += timedelta(minutes=1)
    await told.minute()
    assert told.watch.last_seen("CP.1") == AT + timedelta(minutes=1)
    assert told.watch.last_seen("a*b") == AT, "not seen this time"
    assert told.watch.last_seen("somebody else") is None


async def test_a_large_node_tells_in_parts(told: Told) -> None:
    told.connected = [f"{number:048d}" for number in range(2 * CHARGERS_PER_MESSAGE + 1)]
    await told.minute()
    assert len(told.watch) == 2 * CHARGERS_PER_MESSAGE + 1


async def test_who_has_long_not_been_seen_is_forgotten(told: Told) -> None:
    told.connected = ["old"]
    await told.minute()
    told.clock.at += REMEMBERED + timedelta(seconds=1)
    told.connected = ["new"]
    await told.minute()
    assert told.watch.last_seen("old") is None
    assert told.watch.last_seen("new") == told.clock.at


async def test_what_is_no_snapshot_is_passed_over(
    told: Told, side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        await side.connect.connection.publish(subject.seen("n", "i"), b"no")
        told.connected = ["CP.1"]
        await told.minute()
    assert told.watch.last_seen("CP.1") == AT
    assert len(caplog.records) == 1
