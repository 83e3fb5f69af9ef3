"""A scripted central system: real TLS and WebSocket, polite to every charger, told by a test what to ask."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.patience import PATIENCE_S
from tests.simulator.schema import ENVELOPE, violation

Payload = dict[str, Any]

SUITES = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-GCM-SHA384"


class CallFailed(Exception):
    """The charger answered with CALLERROR; `args[0]` is the code."""


@dataclass(eq=False)
class Seen:
    """One charger's connection as the central system sees it."""

    socket: ServerConnection
    charger_id: str
    profile: int
    fingerprint: str | None
    presented: int
    cipher: str
    heard: list[tuple[str, Payload]] = field(default_factory=list)
    answers: dict[str, list[Payload]] = field(default_factory=dict)
    raw: list[str | bytes] = field(default_factory=list)
    asked: dict[str, tuple[str, Payload]] = field(default_factory=dict)
    told: list[tuple[str, Payload]] = field(default_factory=list)
    disputes: list[str] = field(default_factory=list)
    _waiting: dict[str, asyncio.Future[Payload]] = field(default_factory=dict)

    @property
    def subprotocol(self) -> str:
        return str(self.socket.subprotocol)

    async def call(self, action: str, payload: Payload, timeout: float = PATIENCE_S) -> Payload:
        message_id = f"{action}-{len(self.answers)}-{len(self._waiting)}-{id(payload)}"
        answer = asyncio.get_running_loop().create_future()
        self._waiting[message_id] = answer
        self.answers[message_id] = []
        self.asked[message_id] = (action, payload)
        await self.socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(timeout):
            return await answer  # type: ignore[no-any-return]

    async def tell(self, action: str, payload: Payload) -> None:
        """OCPP 2.1's SEND."""
        await self.socket.send(json.dumps([6, "t", action, payload]))

    async def dispute(self, message_id: str) -> None:
        """OCPP 2.1's CALLRESULTERROR."""
        await self.socket.send(json.dumps([5, message_id, "FormatViolation", "", {}]))

    async def transfer(self, action: str, payload: Payload) -> Payload:
        """A call inside 1.6's envelope for ISO 15118, checked against 2.0.1's schema; the answer is the inner one."""
        assert violation("ocpp2.0.1", action, payload, is_answer=False) == ""
        answer = await self.call(
            "DataTransfer", {"vendorId": ENVELOPE, "messageId": action, "data": json.dumps(payload)}
        )
        assert answer["status"] == "Accepted", answer
        inner: Payload = json.loads(answer["data"])
        assert violation("ocpp2.0.1", action, inner, is_answer=True) == ""
        return inner

    def settle(self, message_id: str, outcome: Payload | Exception) -> None:
        self.answers.setdefault(message_id, []).append(outcome if isinstance(outcome, dict) else {})
        waiting = self._waiting.get(message_id)
        if waiting is None or waiting.done():
            return
        if isinstance(outcome, Exception):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)

    def fail(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the charger is gone"))

    def said(self, action: str) -> list[Payload]:
        return [payload for heard, payload in self.heard if heard == action]


class CentralSystem:
    """Admits by password or certificate, answers what chargers send, and remembers all of it."""

    def __init__(self) -> None:
        self.passwords: dict[str, str | bytes] = {}
        self.open_to: set[str] = set()
        self.logins: list[tuple[str, str | None]] = []
        self.violations: list[str] = []
        self.sessions: list[Seen] = []
        self.live: dict[str, Seen] = {}
        self.refused: list[tuple[str, int]] = []
        self.refuses: Callable[[str, int, str | None], int] = lambda charger_id, profile, fingerprint: 0
        self.boot: Callable[[Seen], Payload] = lambda seen: {"status": "Accepted", "interval": 300}
        self.replies: dict[str, Callable[[Seen, Payload], Payload]] = {}
        self.before_admission: Callable[[str], Awaitable[None]] | None = None
        self.deaf_to: set[str] = set()
        self.port = 0
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.port}/ocpp"

    @asynccontextmanager
    async def listen(self, tls: ssl.SSLContext | None) -> AsyncIterator[CentralSystem]:
        async with serve(
            self._serve,
            "127.0.0.1",
            self.port,
            ssl=tls,
            subprotocols=[Subprotocol("ocpp2.1"), Subprotocol("ocpp2.0.1"), Subprotocol("ocpp1.6")],
            process_request=self._admit,
            compression=None,
            close_timeout=1,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def wait_for(self, predicate: Callable[[], Any], timeout: float = PATIENCE_S) -> Any:
        async with asyncio.timeout(timeout), self._changed:
            while not (found := predicate()):
                await self._changed.wait()
            return found

    async def session(self, charger_id: str, profile: int | None = None, timeout: float = PATIENCE_S) -> Seen:
        """The charger's live session, once it has booted or beaten on it."""

        def booted() -> Seen | None:
            seen = self.live.get(charger_id)
            wanted = seen is not None and profile in (None, seen.profile) and bool(seen.heard)
            return seen if wanted else None

        seen: Seen = await self.wait_for(booted, timeout)
        return seen

    async def csr(self, seen: Seen, number: int = 1) -> str:
        """The n-th CSR heard on a session."""
        await self.wait_for(lambda: len(seen.said("SignCertificate")) >= number)
        return str(seen.said("SignCertificate")[number - 1]["csr"])

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self.before_admission is not None:
            await self.before_admission(request.path.rsplit("/", 1)[-1])
        charger_id = request.path.rsplit("/", 1)[-1]
        profile, mark, _, _ = self._credentials(connection)
        status = self.refuses(charger_id, profile, mark)
        self.logins.append((charger_id, request.headers.get("Authorization")))
        if not status and profile < 3 and charger_id not in self.open_to:
            known = self.passwords.get(charger_id, "")
            password = known.encode() if isinstance(known, str) else known
            pair = f"{charger_id}:".encode() + password
            expected = "Basic " + base64.b64encode(pair).decode()
            status = 0 if request.headers.get("Authorization") == expected else 401
        if not status:
            return None
        self.refused.append((charger_id, status))
        await self._notify()
        return connection.respond(HTTPStatus(status), "no\n")

    @staticmethod
    def _credentials(connection: ServerConnection) -> tuple[int, str | None, int, str]:
        tls = connection.transport.get_extra_info("ssl_object")
        if tls is None:
            return 1, None, 0, ""
        cipher = tls.cipher()[0]
        der = tls.getpeercert(binary_form=True)
        if der is None:
            return 2, None, 0, cipher
        return 3, sha256(der).hexdigest(), len(tls._sslobj.get_unverified_chain()), cipher

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        charger_id = connection.request.path.rsplit("/", 1)[-1]
        seen = Seen(connection, charger_id, *self._credentials(connection))
        self.sessions.append(seen)
        self.live[charger_id] = seen
        await self._notify()
        try:
            async for message in connection:
                await self._hear(seen, message)
        except ConnectionClosed:
            pass
        finally:
            seen.fail()
            if self.live.get(charger_id) is seen:
                del self.live[charger_id]
            await self._notify()

    async def _hear(self, seen: Seen, message: str | bytes) -> None:
        seen.raw.append(message)
        try:
            kind, message_id, *rest = json.loads(message)
        except ValueError:
            await self._notify()
            return
        if kind == 2:
            action, payload = rest
            self._judge(violation(seen.subprotocol, action, payload, is_answer=False))
            seen.heard.append((action, payload))
            if action in self.deaf_to:
                return
            answer = self._answer(seen, action, payload)
            if "error" in answer:
                await seen.socket.send(json.dumps([4, message_id, answer["error"], "", {}]))
            else:
                await seen.socket.send(json.dumps([3, message_id, answer]))
        elif kind == 3:
            action, payload = seen.asked.get(message_id, ("", {}))
            if action:
                if action != "DataTransfer":  # what a test puts into it may be wrong on purpose
                    self._judge(violation(seen.subprotocol, action, payload, is_answer=False))
                self._judge(violation(seen.subprotocol, action, rest[0], is_answer=True))
            seen.settle(message_id, rest[0])
        elif kind == 4:
            seen.settle(message_id, CallFailed(rest[0]))
        elif kind == 5:
            seen.disputes.append(rest[0])
        elif kind == 6:
            action, payload = rest
            self._judge(violation(seen.subprotocol, action, payload, is_answer=False, is_sent=True))
            seen.told.append((action, payload))
        await self._notify()

    def _judge(self, wrong: str) -> None:
        if wrong:
            self.violations.append(wrong)

    def _answer(self, seen: Seen, action: str, payload: Payload) -> Payload:
        if action in self.replies:
            return self.replies[action](seen, payload)
        if action == "BootNotification":
            return {"currentTime": datetime.now(UTC).isoformat()} | self.boot(seen)
        if action == "Heartbeat":
            return {"currentTime": datetime.now(UTC).isoformat()}
        if action == "SignCertificate":
            return {"status": "Accepted"}
        if action == "DataTransfer":
            inner = self._answer(seen, payload["messageId"], json.loads(payload["data"]))
            return {"status": "Accepted", "data": json.dumps(inner)}
        return {}

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def server_tls(leaves: list[Path], client_cas: list[str]) -> ssl.SSLContext:
    """TLS 1.2 or newer, both leaves, asking for a client certificate without insisting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    for leaf in leaves:
        context.load_cert_chain(leaf)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata="".join(client_cas))
    return context
