"""A log receiver on loopback with time, tickets and store in the test's hand, and a raw HTTP client to speak to it."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bfactors.errors import Unavailable
from bfactors.log_upload import StoredLog
from bfactors.ports import LogWriter, OpenLog
from gateways.logs.directory_store import DirectoryLogStore
from gateways.logs.limits import ReceiverLimits
from gateways.logs.receiver import LogReceiver
from gateways.logs.server import LogServer
from gateways.metrics import PrometheusMetrics
from tests.fakes.log_tickets import MemoryUploadTickets
from tests.patience import PATIENCE_S

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NEVER_S = 100_000.0


class HandClock:
    """Time in the test's hand."""

    def __init__(self) -> None:
        self.at = AT
        self._ids = itertools.count(1)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - AT).total_seconds()

    def new_id(self) -> str:
        return f"id{next(self._ids)}"

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class WatchedWriter:
    def __init__(self, store: "WatchedStore", writer: LogWriter) -> None:
        self._store = store
        self._writer = writer

    async def write(self, chunk: bytes) -> None:
        await self._writer.write(chunk)
        self._store.written_bytes += len(chunk)
        self._store.largest_write = max(self._store.largest_write, len(chunk))
        self._store.seconds_passed(self._store.seconds_per_write)

    async def finish(self, sha256: str) -> None:
        await self._store.may_finish.wait()
        if self._store.refuses_to_finish:
            raise Unavailable("log store", "test")
        await self._writer.finish(sha256)

    async def abandon(self) -> None:
        await self._writer.abandon()
        self._store.abandoned += 1


class WatchedStore:
    """A directory store that counts, holds back and fails when told to."""

    def __init__(self, inner: DirectoryLogStore, clock: HandClock) -> None:
        self.inner = inner
        self.seconds_passed = clock.pass_by
        self.seconds_per_write = 0.0
        self.written_bytes = 0
        self.largest_write = 0
        self.abandoned = 0
        self.may_finish = asyncio.Event()
        self.may_finish.set()
        self.refuses_to_finish = False

    async def begin(self, stored_name: str) -> WatchedWriter:
        return WatchedWriter(self, await self.inner.begin(stored_name))

    async def open_log(self, stored_name: str) -> OpenLog | None:
        return await self.inner.open_log(stored_name)

    async def stored(self) -> Sequence[StoredLog]:
        return await self.inner.stored()

    async def delete(self, stored_name: str) -> bool:
        return await self.inner.delete(stored_name)

    async def expire(self, older_than: datetime) -> Sequence[StoredLog]:
        return await self.inner.expire(older_than)


class Answer:
    """Status, headers in lower case, body."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.text = head.decode("latin-1")
        self.status = int(first.split(" ")[1]) if raw else 0
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


class RawClient:
    """A connection on which the test says every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def proceed(self) -> None:
        """Wait for 100 Continue."""
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    async def answer(self) -> Answer:
        """Everything until the server closes; status 0 when that is nothing."""
        raw = b""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while piece := await self.reader.read(65536):
                    raw += piece
        except ConnectionError:
            pass  # what came before the reset counts
        await self.leave()
        return Answer(raw)

    async def leave(self) -> None:
        self.writer.close()

    def break_off(self) -> None:
        """A reset, as of a charger that lost its power."""
        self.writer.transport.abort()


class LogWorld:
    def __init__(self, folder: Path, limits: ReceiverLimits | None = None) -> None:
        self.folder = folder
        self.clock = HandClock()
        self.tickets = MemoryUploadTickets()
        self.store = WatchedStore(DirectoryLogStore(folder), self.clock)
        self.metrics = PrometheusMetrics(strict=True)
        self.receiver = LogReceiver(
            tickets=self.tickets, store=self.store, clock=self.clock, metrics=self.metrics, limits=limits
        )
        self.server = LogServer(self.receiver, self.clock, self.metrics)

    @asynccontextmanager
    async def served(
        self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["LogWorld"]:
        await self.store.inner.start()
        await self.server.start(host, 0, tls, sweep_every_s=NEVER_S)
        try:
            yield self
        finally:
            self.store.may_finish.set()
            await self.server.close()

    def ticket(self, charger_id: str = "CP-1", *, minutes: int = 60, **more: object) -> str:
        return self.tickets.issue(
            charger_id,
            expires_at=self.clock.now() + timedelta(minutes=minutes),
            **more,  # type: ignore[arg-type]
        )

    async def connect(self) -> RawClient:
        return RawClient(*await asyncio.open_connection("127.0.0.1", self.server.port))

    async def ask(self, head: str, body: bytes = b"") -> Answer:
        """One request; `head` without its empty line."""
        client = await self.connect()
        client.send(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        return await client.answer()

    async def put(
        self, ticket: str, body: bytes, *headers: str, name: str = "", method: str = "PUT"
    ) -> Answer:
        lines = "".join(f"{line}\n" for line in headers)
        head = f"{method} /upload/{ticket}{name} HTTP/1.1\nHost: logs\n{lines}Content-Length: {len(body)}"
        return await self.ask(head, body)

    async def begin(self, ticket: str, length: int = 1000) -> RawClient:
        """An upload whose body is wanted, with nothing of it sent."""
        client = await self.connect()
        head = f"PUT /upload/{ticket} HTTP/1.1\r\nHost: logs\r\nContent-Length: {length}\r\n"
        client.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
        await client.proceed()
        return client

    async def written(self, count: int) -> None:
        """Wait until the store has been given `count` bytes."""
        await until(lambda: self.store.written_bytes >= count)

    def outcome(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("bf_log_uploads_total", {"outcome": outcome}) or 0.0

    def number(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)

    def files(self) -> list[str]:
        """Everything in the store's directory, half written things too."""
        return sorted(path.name for path in self.folder.iterdir())

    def content(self) -> list[bytes]:
        return [path.read_bytes() for path in self.folder.iterdir() if path.suffix != ".sha256"]


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds, with a deadline."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for is state of the server, which announces nothing
            await asyncio.sleep(0)
