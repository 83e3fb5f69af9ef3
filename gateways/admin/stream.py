"""Server-sent events: the ledger's events as they are published, resumable by their position in the stream.

Nothing is buffered for a client but one event and the socket's own buffer: the feed is pulled at the pace the client reads.
A client that does not read for half a minute is cut off and comes back with its Last-Event-ID.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import msgspec
from aiohttp import web

from bfactors.errors import Unavailable
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.ports import EventTooOld, FeedItem
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route

EVENT_STREAM = "text/event-stream"
WRITE_WITHIN_S = 30.0
STREAM_AT_MOST_S = 900.0
"""Then the client comes back by itself and shows its token again, which may have been revoked."""
RETRY_MS = 2000
"""How soon a browser comes back."""
_POSITION = re.compile(r"[0-9]{1,18}")
_HEARTBEAT = b": still here\n\n"


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`last_event_id` is for clients that cannot set the header Last-Event-ID, which comes first."""

    last_event_id: str = ""


class Stream:
    """`/api/v1/events`."""

    def __init__(self, dependencies: AdminDependencies) -> None:
        self._feed = dependencies.events
        self._heartbeat_s = dependencies.heartbeat_s
        self._limit = dependencies.stream_limit
        self._metrics = dependencies.metrics
        self._open = 0
        self._closing = asyncio.Event()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/api/v1/events",
                operation="events.follow",
                summary="Follow the ledger's events as server-sent events",
                description="`id` is the position in the stream, `event` the event's name, `data` its JSON. Send the last id "
                "seen as Last-Event-ID to go on behind it; 410 when the stream no longer reaches back that far.",
                handler=self.follow,
                query=StreamQuery,
                answer=str,
                content_type=EVENT_STREAM,
                further={410: "The stream no longer reaches back that far; read the audit trail"},
            ),
        )

    async def follow(self, call: Call, query: StreamQuery) -> web.StreamResponse | Answer:
        after = _position(call.request.headers.get("Last-Event-ID") or query.last_event_id)
        if self._feed is None:
            raise Problem.away("this process has no event stream", 5)
        if self._open >= self._limit:
            raise Problem.away("too many event streams are open", 10)
        self._count(1)
        try:
            try:
                items = await self._feed.open(after)
            except EventTooOld as error:
                raise Problem(410, "event-too-old", f"{error}; read /api/v1/audit instead") from None
            async with contextlib.aclosing(_Closable(items)):
                return await self._follow(call.request, items)
        finally:
            self._count(-1)

    async def close(self, app: web.Application) -> None:
        """End every stream: the server is going."""
        self._closing.set()

    def _count(self, change: int) -> None:
        self._open += change
        self._metrics.gauge("bf_admin_streams", self._open)

    async def _follow(self, request: web.Request, items: AsyncIterator[FeedItem]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        response.content_type = EVENT_STREAM
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        until = loop.time() + STREAM_AT_MOST_S
        closing = loop.create_task(self._closing.wait())
        upcoming: asyncio.Task[FeedItem] | None = None
        try:
            await _write(response, b"retry: %d\n\n" % RETRY_MS)
            while loop.time() < until:
                if upcoming is None:
                    upcoming = loop.create_task(_next(items))
                await asyncio.wait(
                    {upcoming, closing}, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED
                )
                if closing.done():
                    break
                if upcoming.done():
                    item, upcoming = upcoming.result(), None
                    await _write(response, _frame(item))
                else:
                    await _write(response, _HEARTBEAT)
        except StopAsyncIteration:
            pass  # the feed has ended: the client comes back
        except (ConnectionError, TimeoutError, Unavailable):
            if request.transport is not None:
                request.transport.abort()
        finally:
            for task in (upcoming, closing):
                if task is not None:
                    task.cancel()
                    await asyncio.wait({task})
        return response


class _Closable:
    """A feed that may have something to let go of."""

    def __init__(self, items: AsyncIterator[FeedItem]) -> None:
        self._items = items

    async def aclose(self) -> None:
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


async def _next(items: AsyncIterator[FeedItem]) -> FeedItem:
    return await anext(items)


async def _write(response: web.StreamResponse, frame: bytes) -> None:
    """Raises TimeoutError for a client that does not read, ConnectionError for one that has gone."""
    async with asyncio.timeout(WRITE_WITHIN_S):
        await response.write(frame)


def _frame(item: FeedItem) -> bytes:
    data = b"".join(b"data: " + line + b"\n" for line in item.data.splitlines() or [b""])
    return b"id: %d\nevent: %s\n%s\n" % (item.position, item.event.encode(), data)


def _position(text: str) -> int | None:
    if not text:
        return None
    if not _POSITION.fullmatch(text):
        raise Problem.of_field("Last-Event-ID", "is the id of an event of this stream: a number")
    return int(text)
