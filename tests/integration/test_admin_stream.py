"""Following the ledger's events over server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from bfactors.errors import Unavailable
from gateways.admin import stream as stream_module
from gateways.admin.ports import EventTooOld, FeedItem
from gateways.metrics import PrometheusMetrics
from tests.integration.admin_world import AdminWorld, token_of
from tests.patience import PATIENCE_S

EVENTS = "/api/v1/events"


class Feed:
    """A stream in memory that begins at `oldest`; `more` puts one behind its end."""

    def __init__(self, oldest: int = 1) -> None:
        self.oldest = oldest
        self.items: list[FeedItem] = []
        self.grown = asyncio.Condition()
        self.opened: list[int | None] = []
        self.pulled = 0
        self.closed = 0
        self.let_go = asyncio.Event()
        self.broken = False
        self.ends = False

    async def more(self, event: str = "ChargerRegistered", data: bytes = b'{"chargerId":"CP-1"}') -> None:
        async with self.grown:
            self.items.append(FeedItem(self.oldest + len(self.items), event, data))
            self.grown.notify_all()

    async def open(self, after: int | None) -> AsyncIterator[FeedItem]:
        self.opened.append(after)
        if self.broken:
            raise Unavailable("NATS")
        if after is not None and after < self.oldest - 1:
            raise EventTooOld(f"the stream begins at {self.oldest}")
        return self._follow(len(self.items) if after is None else after - self.oldest + 1)

    async def _follow(self, index: int) -> AsyncIterator[FeedItem]:
        try:
            while True:
                async with self.grown:
                    while not (len(self.items) > index or self.broken or self.ends):
                        await self.grown.wait()
                if self.broken:
                    raise Unavailable("NATS")
                if self.ends:
                    return
                self.pulled += 1
                yield self.items[index]
                index += 1
        finally:
            self.closed += 1
            self.let_go.set()


class Client:
    """Reads one stream, block by block."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> dict[str, str]:
        """The next block's fields; a comment's text is under ""."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            while True:
                line = (await self.response.content.readline()).decode()
                if line in ("\n", ""):
                    return fields
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.strip()

    async def event(self) -> dict[str, str]:
        """The next block that is an event."""
        while True:
            block = await self.block()
            if "id" in block or not block:
                return block


@asynccontextmanager
async def following(world: AdminWorld, last: str | None = None, query: str = "") -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token_of('auditor')}"}
    if last is not None:
        headers["Last-Event-ID"] = last
    async with world.http.get(EVENTS + query, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        client = Client(response)
        assert await client.block() == {"retry": "2000"}
        yield client


@asynccontextmanager
async def served(feed: Feed, **options: Any) -> AsyncIterator[AdminWorld]:
    async with AdminWorld(events=feed, **options).served() as world:
        yield world


class StreamCount(PrometheusMetrics):
    """Tells when the last stream has been counted out."""

    def __init__(self) -> None:
        super().__init__(strict=True)
        self.none_open = asyncio.Event()

    def gauge(self, name: str, value: float, **labels: str) -> None:
        super().gauge(name, value, **labels)
        if name == "bf_admin_streams" and value == 0:
            self.none_open.set()


async def test_events_arrive_as_they_happen_with_position_name_and_data() -> None:
    feed = Feed()
    await feed.more("Before")
    async with served(feed) as world, following(world) as client:
        await feed.more("CertificateActivated", b'{"certificateId":"c1"}')
        found = await client.event()
        assert found == {"id": "2", "event": "CertificateActivated", "data": '{"certificateId":"c1"}'}
        assert feed.opened == [None]


@pytest.mark.parametrize("by_query", [False, True])
async def test_a_client_goes_on_behind_its_last_event(by_query: bool) -> None:
    feed = Feed()
    for number in range(4):
        await feed.more(f"Event{number}")
    async with served(feed) as world:
        last, query = (None, "?last_event_id=2") if by_query else ("2", "")
        async with following(world, last, query) as client:
            assert [(await client.event())["id"] for _ in range(2)] == ["3", "4"]


async def test_a_position_that_is_gone_is_gone() -> None:
    async with served(Feed(oldest=100)) as world:
        reply = await world.ask("GET", EVENTS, headers={"Last-Event-ID": "5"})
        assert (reply.status, reply.body["code"]) == (410, "event-too-old")
        assert "/api/v1/audit" in reply.body["detail"]
        async with following(world, "99"):
            pass


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30])
async def test_a_position_that_is_no_number_is_refused(last: str) -> None:
    async with served(Feed()) as world:
        reply = await world.ask("GET", EVENTS, headers={"Last-Event-ID": last})
        assert (reply.status, reply.fields) == (422, ["Last-Event-ID"])


async def test_an_idle_stream_is_kept_open_by_comments() -> None:
    feed = Feed()
    async with served(feed, heartbeat_s=0.01) as world, following(world) as client:
        assert await client.block() == {"": "still here"}
        assert await client.block() == {"": "still here"}
        await feed.more()
        assert (await client.event())["id"] == "1"


async def test_streams_are_counted_and_bounded() -> None:
    metrics = StreamCount()
    async with served(Feed(), stream_limit=1, heartbeat_s=0.01, metrics=metrics) as world:
        async with following(world):
            refused = await world.ask("GET", EVENTS)
            assert (refused.status, refused.headers["Retry-After"]) == (503, "10")
            assert b"bf_admin_streams 1.0" in world.metrics.exposition()[0]
        async with asyncio.timeout(PATIENCE_S):
            await metrics.none_open.wait()
        async with following(world):
            assert b"bf_admin_streams 1.0" in world.metrics.exposition()[0]


async def test_a_client_that_does_not_read_is_not_read_ahead_for() -> None:
    """One event and the socket's buffers are all that is held; the feed itself is not pulled on."""
    feed = Feed()
    for _ in range(1000):
        await feed.more("Big", b"x" * 65536)
    async with served(feed) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port, limit=1024)
        lines = (f"GET {EVENTS} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token_of('auditor')}")
        writer.write("\r\n".join((*lines, "Last-Event-ID: 0", "", "")).encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        pulled = -1
        while pulled != feed.pulled:  # until the sockets' buffers are full
            pulled = feed.pulled
            for _ in range(200):
                await asyncio.sleep(0)
        assert pulled < 500
        writer.close()


async def test_a_client_that_does_not_read_for_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "WRITE_WITHIN_S", 0.05)
    feed = Feed()
    for _ in range(1000):
        await feed.more("Big", b"x" * 65536)
    async with served(feed) as world:
        _, writer = await asyncio.open_connection("127.0.0.1", world.server.port, limit=1024)
        lines = (f"GET {EVENTS} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token_of('auditor')}")
        writer.write("\r\n".join((*lines, "Last-Event-ID: 0", "", "")).encode())
        async with asyncio.timeout(PATIENCE_S):
            await feed.let_go.wait()
        writer.close()


async def test_a_stream_ends_when_its_token_is_to_be_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "STREAM_AT_MOST_S", 0.05)
    feed = Feed()
    async with served(feed, heartbeat_s=0.02) as world, following(world) as client:
        assert await client.event() == {}
        assert client.response.content.at_eof()
    assert feed.closed == 1


async def test_a_feed_that_breaks_ends_the_stream_and_one_that_is_away_does_not_begin_it() -> None:
    feed = Feed()
    async with served(feed) as world:
        async with following(world) as client:
            feed.broken = True
            async with feed.grown:
                feed.grown.notify_all()
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.event()
        reply = await world.ask("GET", EVENTS)
        assert (reply.status, reply.body["code"]) == (503, "unavailable")
        assert feed.closed == 1


async def test_a_feed_that_ends_ends_the_stream() -> None:
    feed = Feed()
    feed.ends = True
    async with served(feed) as world, following(world) as client:
        assert await client.event() == {}


async def test_a_server_that_closes_ends_its_streams_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateways.admin.server.CLOSE_WITHIN_S", 2 * PATIENCE_S)  # then they would be cut off
    feed = Feed()
    async with AdminWorld(events=feed).served() as world, following(world) as client:
        async with asyncio.timeout(PATIENCE_S):
            await world.server.close()
        assert await client.event() == {}
    assert feed.closed == 1
