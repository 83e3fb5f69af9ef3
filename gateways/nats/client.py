"""The client library's client with a shorter way for what we do most: many small messages, each way.

The library queues every message for a task of its subscription, builds every command from pieces and wakes a task to write
it. Ours are handed over where they are parsed - `Registration` only puts them somewhere - are put together in one go, and
what one turn of the loop has sent is written at its end. Whatever is out of the ordinary takes the library's way.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from nats.aio.client import Client
from nats.errors import MaxPayloadError

from gateways.nats.message import Message
from gateways.nats.parser import LeanParser
from gateways.nats.registration import Registration

_STATUS_LINE = b"NATS/1.0\r\n"
UNSENT_BYTES = 64 * 1024
"""So much in the socket's buffer, and the library's flusher takes over: it waits until the server has read some."""


class LeanClient(Client):  # type: ignore[misc]  # the library is untyped
    """Overrides a few methods of the pinned library; the contract tests run on a server."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = LeanParser(self)
        self._pending: list[bytes] = []
        self._is_write_due = False

    # -- in -----------------------------------------------------------------------------------------

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        """Hand a message over at once; False if that is the library's to do."""
        subscription = self._subs.get(sid)
        registration = getattr(subscription and subscription._cb, "__self__", None)
        if not isinstance(registration, Registration):
            return False
        parsed: Mapping[str, str] | None = None
        if headers:
            if not headers.startswith(_STATUS_LINE):
                return False  # an inline status
            parsed = _parsed(headers)
        self._came(data)
        registration.take(Message(subject.decode(), reply.decode(), data, parsed))
        return True

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        if self.take(sid, subject, reply, data, headers):
            return
        subscription = self._subs.get(sid)
        registration = getattr(subscription and subscription._cb, "__self__", None)
        if not isinstance(registration, Registration):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self._came(data)
        parsed = await self._process_headers(headers) if headers else None
        registration.take(Message(subject.decode(), reply.decode(), data, parsed))

    async def _process_pong(self) -> None:
        """The library answers a flush that was given up too, and then loses the connection over its own error."""
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pongs_received += 1
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    def _came(self, data: bytes) -> None:
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)

    # -- out ----------------------------------------------------------------------------------------

    def post(
        self, subject: str, payload: bytes, reply: str, headers: Mapping[str, Any] | None = None
    ) -> bool:
        """Send at the end of this turn of the loop; False if that takes the library's way. Raises MaxPayloadError."""
        block = _block(headers) if headers else b""
        if block is None or not self.is_connected or self.is_draining_pubs or not _is_plain(subject, reply):
            return False
        size = len(payload)
        if size > self._max_payload:
            raise MaxPayloadError
        if self._pending_data_size + size > self._max_pending_size:
            return False
        sizes = f"{len(block)} {len(block) + size}" if block else f"{size}"
        head = f"{'HPUB' if block else 'PUB'} {subject} {reply} {sizes}\r\n"
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        command = b"".join((head.encode(), block, payload, b"\r\n"))
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._is_write_due:
            self._is_write_due = True
            asyncio.get_running_loop().call_soon(self._write)
        return True

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, Any] | None = None
    ) -> None:
        """As the library's. Raises its errors."""
        if not self.post(subject, payload, reply, headers):
            await super().publish(subject, payload, reply, dict(headers) if headers else None)

    def _write(self) -> None:
        self._is_write_due = False
        if not self._pending or not self.is_connected or self._flush_queue is None:
            return
        stream = getattr(self._transport, "_io_writer", None)
        if stream is None or stream.transport.get_write_buffer_size() > UNSENT_BYTES:
            if self._flush_queue.empty():
                self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())
            return
        waiting, self._pending, self._pending_data_size = self._pending, [], 0
        with contextlib.suppress(OSError, RuntimeError):  # closed just now, which its reader finds out
            stream.write(b"".join(waiting))


def _is_plain(subject: str, reply: str) -> bool:
    """Whether neither can be mistaken for more of the protocol than a word."""
    both = subject + reply
    return bool(subject) and both.isprintable() and " " not in both


@cache
def _is_plain_name(name: str) -> bool:
    return name.isascii() and ":" not in name and " " not in name


def _block(headers: Mapping[str, Any]) -> bytes | None:
    """The headers as they travel; None when they need the library's care."""
    lines = ""
    for name, value in headers.items():
        if not (_is_plain_name(name) and isinstance(value, str) and value.isprintable()):
            return None
        lines += f"{name}: {value}\r\n"
    return f"NATS/1.0\r\n{lines}\r\n".encode()


def _parsed(headers: bytes) -> dict[str, str] | None:
    found = {}
    for line in headers[len(_STATUS_LINE) :].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return found or None
