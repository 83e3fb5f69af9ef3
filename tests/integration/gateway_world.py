"""A gateway on loopback with everything around it recorded, and clients that know nothing of the product's code."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from bfactors.admission import AdmissionRecord, KeyVerifier, KnownCredential
from bfactors.identity_rule import verify_with
from bfactors.ocpp import Inbound, InboundCall, InboundProblem, Outbound
from bfactors.ports import Session, TraceSink
from gateways.ocpp.option import GatewayOptions
from gateways.ocpp.server import Gateway
from gateways.ocpp.tls import FrontTls, ServerIdentity
from tests.core.x509_maker import NOW, Authority, Pair
from tests.patience import PATIENCE_S

HOST = "127.0.0.1"
PEPPER = b"pepper of the test"
PASSWORD = "a-password-of-24-letters"


class Times:
    """A clock tests turn by hand."""

    def __init__(self) -> None:
        self.at = NOW
        self.seconds = 1000.0
        self.ids = 0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def new_id(self) -> str:
        self.ids += 1
        return f"session-{self.ids}"

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.at += timedelta(seconds=seconds)


class Counts:
    """Metrics that can be read back."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counted[" ".join((name, *labels.values()))] += int(amount)
        self._changed.set()

    async def until(self, name: str, at_least: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.counted[name] < at_least:
                self._changed.clear()
                await self._changed.wait()

    def gauge(self, name: str, value: float, **labels: str) -> None:
        pass

    def observe(self, name: str, value: float, **labels: str) -> None:
        pass


class Records:
    """Admission records a test edits; every edit is told to the gateway."""

    def __init__(self) -> None:
        self.ready = True
        self.age_s = 0.0
        self._records: dict[str, AdmissionRecord] = {}
        self._listeners: list[Callable[[AdmissionRecord], None]] = []

    def get(self, charger_id: str) -> AdmissionRecord | None:
        return self._records.get(charger_id)

    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None:
        self._listeners.append(changed)

    def put(self, record: AdmissionRecord) -> None:
        self._records[record.charger_id] = record
        for listener in self._listeners:
            listener(record)

    def edit(self, charger_id: str, **changes: Any) -> None:
        record = self._records[charger_id]
        self.put(msgspec.structs.replace(record, revision=record.revision + 1, **changes))


class Reports:
    """What never became a session."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str, int]] = []
        self.failed_handshakes = 0
        self._changed = asyncio.Condition()
        self._waiters: list[asyncio.Event] = []

    def connection_refused(
        self,
        charger_id: str,
        remote_address: str,
        reason: str,
        http_status: int,
        fingerprint_sha256: str | None,
    ) -> None:
        self.refused.append((charger_id, reason, http_status))

    def handshake_failed(self, remote_address: str) -> None:
        self.failed_handshakes += 1
        for waiter in self._waiters:
            waiter.set()

    async def wait_for_failures(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.failed_handshakes < count:
                event = asyncio.Event()
                self._waiters.append(event)
                await event.wait()


class Door:
    """An actor's side that writes down what it is told; `react` may answer."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.inbound: list[tuple[Session, Inbound]] = []
        self.closed_because: dict[str, str] = {}
        self.takes = True
        self.react: Callable[[Session, Inbound], None] = lambda session, inbound: None
        self._changed = asyncio.Event()

    def opened(self, session: Session) -> None:
        self.sessions.append(session)
        self._changed.set()

    def received(self, session: Session, inbound: Inbound) -> bool:
        self.inbound.append((session, inbound))
        self._changed.set()
        self.react(session, inbound)
        return self.takes

    def closed(self, session: Session, reason: str) -> None:
        assert session.info.session_id not in self.closed_because, "told twice"
        self.closed_because[session.info.session_id] = reason
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def next_inbound(self, count: int) -> Inbound:
        await self.until(lambda: len(self.inbound) >= count)
        return self.inbound[count - 1][1]

    @property
    def calls(self) -> list[InboundCall]:
        return [inbound for _, inbound in self.inbound if isinstance(inbound, InboundCall)]

    @property
    def problems(self) -> list[InboundProblem]:
        return [inbound for _, inbound in self.inbound if isinstance(inbound, InboundProblem)]

    def send(self, outbound: Outbound) -> None:
        self.sessions[-1].send(outbound)


@dataclass
class World:
    """One gateway and what surrounds it."""

    folder: Path
    root: Authority
    issuing: Authority
    server_root: Authority
    times: Times = field(default_factory=Times)
    records: Records = field(default_factory=Records)
    reports: Reports = field(default_factory=Reports)
    door: Door = field(default_factory=Door)
    counts: Counts = field(default_factory=Counts)
    options: GatewayOptions = field(default_factory=GatewayOptions)
    traces: TraceSink | None = None
    with_plain: bool = False
    real_now: datetime = NOW
    gateway: Gateway = field(init=False)
    tls: FrontTls = field(init=False)

    async def start(self) -> None:
        self.tls = FrontTls(self.server_identities(), [self.root.pair.pem])
        self.gateway = self.new_gateway()
        await self.gateway.start(HOST, 0, plain_port=0 if self.with_plain else None)

    def new_gateway(self) -> Gateway:
        return Gateway(
            node="node-1",
            incarnation="incarnation-1",
            tls=self.tls,
            admission=self.records,
            door=self.door,
            reporter=self.reports,
            clock=self.times,
            metrics=self.counts,
            verify_key=verify_with({"p1": PEPPER}),
            options=self.options,
            traces=self.traces,
        )

    def server_identities(self) -> list[ServerIdentity]:
        """Server certificates for localhost, ECDSA and RSA, valid by the real clock: the clients have no other."""
        return [
            ServerIdentity(*leaf.write(self.folder, f"server-{leaf.fingerprint[:12]}"))
            for leaf in _server_leaves(self.server_root)
        ]

    # ------------------------------------------------------------ records

    def charger(
        self,
        charger_id: str = "CS-1",
        *leaves: tuple[Pair, str],
        profiles: tuple[int, ...] = (2, 3),
        **more: Any,
    ) -> AdmissionRecord:
        record = AdmissionRecord(
            charger_id=charger_id,
            managed_identity_id=f"id-{charger_id}",
            serial_number="SN-1",
            expected_common_name="SN-1",
            organization="BetterFleet",
            family="acme",
            site="depot",
            cohort="pilot",
            allowed_profiles=profiles,
            keys=(key_of(PASSWORD),),
            credentials=tuple(known(pair, state) for pair, state in leaves),
        )
        record = msgspec.structs.replace(record, **more)
        self.records.put(record)
        return record

    # ------------------------------------------------------------ clients

    def client_tls(self, leaf: Pair | None = None, **settings: Any) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.server_root.pair.pem)
        if leaf is not None:
            context.load_cert_chain(*leaf.write(self.folder, f"client-{leaf.fingerprint[:12]}"))
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    def dial(
        self,
        charger_id: str = "CS-1",
        leaf: Pair | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        path: str | None = None,
        **more: Any,
    ) -> connect:
        return _connect(
            f"wss://localhost:{self.gateway.port}{path or f'/ocpp/{charger_id}'}",
            ssl=tls or self.client_tls(leaf),
            **more,
        )

    def dial_plain(self, charger_id: str, **more: Any) -> connect:
        return _connect(f"ws://localhost:{self.gateway.plain_port}/ocpp/{charger_id}", **more)

    def dial_basic(self, charger_id: str = "CS-1", **more: Any) -> connect:
        return self.dial(charger_id, basic=(charger_id, PASSWORD), **more)


def _connect(
    url: str,
    *,
    basic: tuple[str, str | bytes] | None = None,
    authorization: str | None = None,
    subprotocols: list[str] | None = None,
    also: dict[str, str] | None = None,
    **more: Any,
) -> connect:
    headers = {"Authorization": authorization} if authorization is not None else {}
    headers |= also or {}
    if basic is not None:
        user, password = basic
        secret = password if isinstance(password, bytes) else password.encode()
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()
    return connect(
        url,
        subprotocols=["ocpp2.0.1"] if subprotocols is None else (subprotocols or None),
        additional_headers=headers,
        host=HOST,
        ping_interval=None,
        proxy=None,
        **more,
    )


def key_of(password: str | bytes, generation: int = 1, state: str = "active") -> KeyVerifier:
    secret = password if isinstance(password, bytes) else password.encode()
    verifier = hmac.new(PEPPER, secret, hashlib.sha256).hexdigest()
    return KeyVerifier(generation=generation, pepper_id="p1", verifier=verifier, state=state)


def known(pair: Pair, state: str, admit_until: datetime | None = None) -> KnownCredential:
    return KnownCredential(
        fingerprint_sha256=pair.fingerprint,
        certificate_id=f"cert-{pair.fingerprint[:6]}",
        state=state,
        not_after=pair.certificate.not_valid_after_utc,
        admit_until=admit_until,
    )


async def ask(socket: ClientConnection, frame: Any) -> None:
    await socket.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))


async def answer(socket: ClientConnection) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await socket.recv())


def _server_leaves(root: Authority) -> tuple[Pair, Pair]:
    made = _MADE.get(root.pair.fingerprint)
    if made is None:
        ec, rsa = (root.leaf("localhost", kind=kind, dns_name="localhost") for kind in ("ec", "rsa"))
        made = _MADE[root.pair.fingerprint] = (ec, rsa)
    return made


_MADE: dict[str, tuple[Pair, Pair]] = {}


@cache
def _shared_pki() -> tuple[Authority, Authority, Authority, datetime]:
    """The charger PKI lives around NOW, the server's around the real time of day. Made once: keys are slow to make."""
    root = Authority.root("Identity root")
    real_now = datetime.now(NOW.tzinfo)
    return root, root.sub("Identity CA"), Authority.root("Server root", now=real_now), real_now


def new_world(folder: Path, **more: Any) -> World:
    root, issuing, server_root, real_now = _shared_pki()
    return World(folder, root, issuing, server_root, real_now=real_now, **more)


class RawClient:
    """A blocking TLS socket that speaks HTTP by hand; use it in a thread."""

    def __init__(self, port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        plain = socket.create_connection((HOST, port), timeout=PATIENCE_S)
        self.tls = context.wrap_socket(plain, server_hostname="localhost", session=session)

    def upgrade(self, charger_id: str, *headers: str) -> tuple[int, bytes]:
        """Ask for the upgrade; (status, everything read so far)."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /ocpp/{charger_id} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp2.0.1", *headers,
        )  # fmt: skip
        self.tls.sendall("\r\n".join((*lines, "", "")).encode())
        read = b""
        while b"\r\n\r\n" not in read:
            part = self.tls.recv(4096)
            if not part:
                break
            read += part
        return (int(read.split(b" ", 2)[1]), read) if read else (0, read)

    def close(self) -> None:
        self.tls.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A started gateway; import this fixture into a module of gateway tests."""
    world = new_world(tmp_path)
    await world.start()
    yield world
    await world.gateway.stop()
