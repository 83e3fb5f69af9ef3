"""The client library's client with a shorter way for what we do most: many small messages, each way.

The library queues every message for a task of its subscription, and builds every command from pieces. Ours are handed over
where they are parsed - `Registration` only puts them somewhere - and are put together in one go. Whatever is out of the
ordinary takes the library's way.
"""

from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client
from nats.errors import MaxPayloadError

from gateways.nats.message import Message
from gateways.nats.registration import Registration

_STATUS_LINE = b"NATS/1.0\r\n"


class LeanClient(Client):  # type: ignore[misc]  # the library is untyped
    """Overrides two methods of the pinned library; the contract tests run on a server."""

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        subscription = self._subs.get(sid)
        registration = getattr(subscription and subscription._cb, "__self__", None)
        if not isinstance(registration, Registration):
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        self.stats["in_msgs"] += 1
        self.stats["in_bytes"] += len(data)
        parsed: Mapping[str, str] | None = None
        if headers:
            if headers.startswith(_STATUS_LINE):
                parsed = _parsed(headers)
            else:  # an inline status
                parsed = await self._process_headers(headers)
        registration.take(Message(subject.decode(), reply.decode(), data, parsed))

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Mapping[str, Any] | None = None
    ) -> None:
        """As the library's. Raises its errors."""
        block = _block(headers) if headers else b""
        if block is None or not self.is_connected or self.is_draining_pubs or not _is_plain(subject, reply):
            await super().publish(subject, payload, reply, dict(headers) if headers else None)
            return
        size = len(payload)
        if size > self._max_payload:
            raise MaxPayloadError
        sizes = f"{len(block)} {len(block) + size}" if block else f"{size}"
        head = f"{'HPUB' if block else 'PUB'} {subject} {reply} {sizes}\r\n"
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += size
        await self._send_command(b"".join((head.encode(), block, payload, b"\r\n")))
        if self._flush_queue is not None and self._flush_queue.empty():
            await self._flush_pending()


def _is_plain(subject: str, reply: str) -> bool:
    """Whether neither can be mistaken for more of the protocol than a word."""
    both = subject + reply
    return bool(subject) and both.isprintable() and " " not in both


def _block(headers: Mapping[str, Any]) -> bytes | None:
    """The headers as they travel; None when they need the library's care."""
    lines = []
    for name, value in headers.items():
        if (
            not (name.isascii() and isinstance(value, str) and value.isprintable())
            or ":" in name
            or " " in name
        ):
            return None
        lines.append(f"{name}: {value}\r\n")
    return f"NATS/1.0\r\n{''.join(lines)}\r\n".encode()


def _parsed(headers: bytes) -> dict[str, str] | None:
    found = {}
    for line in headers[len(_STATUS_LINE) :].decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return found or None
