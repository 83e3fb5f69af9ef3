"""The chargers of a run, in a process of their own and as cheap as can be: mutual TLS 1.3, an upgrade, prepared frames.

Written against sockets and `ssl` only, so that neither side of a comparison shares code with its client.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import uvloop

from bench import pki
from bench.process import serve, settings_of_this_process
from supervisors.descriptor_limit import raise_descriptor_limit

T = TypeVar("T")

AT_ONCE = 16
_PATIENCE_S = 280.0
_TRIES = 6
_AGAIN_S = (1.0, 3.0)
"""Before the second try; before each later one, twice as long."""
_HOST = "127.0.0.1"
_FINAL_TEXT, _FINAL_CLOSE, _FINAL_PONG, _MASKED = 0x81, 0x88, 0x8A, 0x80

_BOOT_2 = {"reason": "PowerUp", "chargingStation": {"vendorName": "Bench", "model": "One"}}
_BOOT: Mapping[str, dict[str, Any]] = {
    "1.6": {"chargePointVendor": "Bench", "chargePointModel": "One"},
    "2.0.1": _BOOT_2,
    "2.1": _BOOT_2,
}
_TYPED = {"certificateType": "ChargingStationCertificate"}
_CSR_OF: Mapping[str, dict[str, str]] = {"1.6": {}, "2.0.1": _TYPED, "2.1": _TYPED}
"""What a version's SignCertificate says beside the CSR: 1.6 knows one kind of certificate only."""


class Line(asyncio.Protocol):
    """One charger's socket. `on_text` is called with each whole text message."""

    def __init__(self, tls: ssl.SSLContext, charger_id: str, version: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self._charger_id = charger_id
        self._version = version
        self._plain = b""
        self._shaken = False
        self.calls = 0
        """Sent on this line."""
        self._transport: asyncio.Transport
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_text: Callable[[bytes], None] = lambda text: None
        self.on_lost: Callable[[], object] = lambda: None

    async def dial(self, port: int) -> None:
        """Return once the upgrade is through. Raises OSError."""
        await asyncio.get_running_loop().create_connection(lambda: self, _HOST, port)
        await self.opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._shake()

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self._shaken and not self._shake():
            return
        try:
            while part := self._tls.read(65536):
                self._plain += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
        if not self.opened.done():
            self._upgraded()
        if self.opened.done():
            self._frames()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ConnectionError(f"{self._charger_id} was cut off: {exc}"))
        self.on_lost()
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, payload: bytes) -> None:
        """One text message; the mask is zero, which costs the server what any other mask does."""
        self._write(_frame(_FINAL_TEXT, payload))

    def close(self) -> None:
        """Leave as a charger does: a close frame, then the socket."""
        self._write(_frame(_FINAL_CLOSE, struct.pack("!H", 1000)))

    def abort(self) -> None:
        self._transport.abort()

    def _shake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._fail(error)
            return False
        assert self._tls.version() == "TLSv1.3"
        self._shaken = True
        key = b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /ocpp/{self._charger_id} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Protocol: ocpp{self._version}", "", "",
        )  # fmt: skip
        self._write("\r\n".join(lines).encode())
        return True

    def _upgraded(self) -> None:
        head, found, rest = self._plain.partition(b"\r\n\r\n")
        if not found:
            return
        if not head.startswith(b"HTTP/1.1 101"):
            self._fail(ConnectionError(head.decode(errors="replace")))
            return
        self._plain = rest
        self.opened.set_result(None)

    def _frames(self) -> None:
        while len(self._plain) >= 2:
            length, start = self._plain[1], 2
            if length == 126:
                if len(self._plain) < 4:
                    return
                length, start = struct.unpack_from("!H", self._plain, 2)[0], 4
            if len(self._plain) < start + length:
                return
            opcode, payload = self._plain[0] & 0x0F, self._plain[start : start + length]
            self._plain = self._plain[start + length :]
            if opcode == 1:
                self.on_text(payload)
            elif opcode == 9:
                self._write(_frame(_FINAL_PONG, payload))
            elif opcode == 8:
                self._transport.close()

    def _write(self, plain: bytes) -> None:
        self._tls.write(plain)
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes((_MASKED | size,)) if size < 126 else bytes((_MASKED | 126,)) + struct.pack("!H", size)
    return bytes((first,)) + length + b"\0\0\0\0" + payload


class Dialer:
    """All lines of this process; on its loop only."""

    def __init__(self, files: pki.Files, port: int, version: str) -> None:
        self._files = files
        self._port = port
        self._version = version
        self._tls = ssl.create_default_context(cafile=str(files.root))
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._csrs = pki.read_csrs(files)
        self._lines: list[Line] = []

    async def connect(self, first: int, count: int) -> None:
        """Chargers `first` to `first + count - 1`, some at a time."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> Line:
            async with gate:
                # An SSL object keeps the certificate its context had when it was made.
                self._tls.load_cert_chain(*self._files.charger(number))
                line = Line(self._tls, pki.charger_id(number), self._version)
                await line.dial(self._port)
                return line

        self._lines += await asyncio.gather(*(one(first + n) for n in range(count)))

    async def storm(self, first: int, count: int) -> dict[str, Any]:
        """The power comes back: every line is cut, every charger dials at once and boots.

        Whoever is turned away, because there are too many at the door, tries again after a moment, as chargers do.
        """
        lines, self._lines = self._lines, []
        for line in lines:
            line.abort()
        turned_away = 0

        async def one(number: int) -> Line:
            nonlocal turned_away
            for again in range(_TRIES):
                self._tls.load_cert_chain(*self._files.charger(number))
                line = Line(self._tls, pki.charger_id(number), self._version)
                try:
                    await line.dial(self._port)
                    await self._run(line, "BootNotification", lambda _: _BOOT[self._version], 1)
                    return line
                except OSError:
                    turned_away += 1
                    await asyncio.sleep(random.uniform(*_AGAIN_S) * 2**again)
            raise ConnectionError(f"{pki.charger_id(number)} was turned away {_TRIES} times")

        self._lines = list(await asyncio.gather(*(one(first + n) for n in range(count))))
        return {"turned_away": turned_away}

    async def leave(self) -> None:
        """Close every line and wait until the server has closed it too."""
        lines, self._lines = self._lines, []
        for line in lines:
            line.close()
        await asyncio.gather(*(line.closed for line in lines))

    async def boot(self) -> None:
        """Every charger boots."""
        payload = _BOOT[self._version]
        await asyncio.gather(
            *(self._run(line, "BootNotification", lambda _: payload, 1) for line in self._lines)
        )

    async def beat(self, exchanges: int, lines: int) -> None:
        """So many Heartbeats, over so many lines at once."""
        each = exchanges // lines
        await asyncio.gather(
            *(self._run(line, "Heartbeat", lambda _: {}, each) for line in self._lines[:lines])
        )

    async def sign(self, exchanges: int, lines: int) -> None:
        """So many SignCertificate calls, over so many lines at once, each line with one call in flight."""
        each = exchanges // lines
        await asyncio.gather(
            *(self._run(line, "SignCertificate", self._request, each) for line in self._lines[:lines])
        )

    def _request(self, number: int) -> dict[str, Any]:
        """A line's CSR differs from its last one: that one would be answered from memory."""
        return {"csr": self._csrs[number % len(self._csrs)], **_CSR_OF[self._version]}

    def _run(
        self, line: Line, action: str, payload: Callable[[int], dict[str, Any]], each: int
    ) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        left = each

        def ask() -> None:
            line.calls += 1
            line.send(json.dumps([2, f"m{line.calls}", action, payload(line.calls)]).encode())

        def answered(text: bytes) -> None:
            nonlocal left
            if not (text.startswith(b"[3,") and (b'"Accepted"' in text or action == "Heartbeat")):
                done.set_exception(ConnectionError(text.decode(errors="replace")))
                return
            left -= 1
            if left:
                ask()
            else:
                done.set_result(None)

        def cut_off() -> None:
            if not done.done():
                done.set_exception(ConnectionError("cut off in mid-call"))

        line.on_text = answered
        line.on_lost = cut_off
        ask()
        return done


def main() -> None:
    settings = settings_of_this_process()
    raise_descriptor_limit()
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(_PATIENCE_S)

    async def made() -> Dialer:
        return Dialer(pki.Files(Path(settings["folder"])), settings["port"], settings.get("version", "2.0.1"))

    dialer = run(made())
    serve(
        {
            "connect": lambda first, count: run(dialer.connect(first, count)),
            "storm": lambda first, count: run(dialer.storm(first, count)),
            "leave": lambda: run(dialer.leave()),
            "boot": lambda: run(dialer.boot()),
            "beat": lambda exchanges, lines: run(dialer.beat(exchanges, lines)),
            "sign": lambda exchanges, lines: run(dialer.sign(exchanges, lines)),
        }
    )


if __name__ == "__main__":
    main()
