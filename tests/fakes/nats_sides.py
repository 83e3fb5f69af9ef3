"""The two implementations of the NATS-side ports behind one face, for the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from bfactors import ports
from bfactors.admission import AdmissionRecord
from bfactors.evidence import CsrReceived, Evidence, evidence_id
from deploy.embedded import EmbeddedNats, inbox_prefix
from gateways.nats.admission_view import NatsAdmissionView
from gateways.nats.command_door import NatsCommandDoor
from gateways.nats.control_view import NatsControlView
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.evidence_reader import NatsEvidenceReader
from gateways.nats.gateway import NatsGateway
from gateways.nats.instruction_inbox import NatsInstructionInbox
from gateways.nats.layout import NatsLayout
from gateways.nats.outbox import NatsOutbox
from gateways.nats.settings import NatsSettings
from tests.fakes import nats as fakes
from tests.fakes.nats_views import InMemoryAdmissionView, InMemoryControlView
from tests.patience import PATIENCE_S

AT = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
AWKWARD_NAMES = ("CP.1", "a*b", "x>", "two words", "grün", "a=2Eb", "under_score-dash")


class StartedView(ports.AdmissionView, Protocol):
    async def wait_ready(self) -> None: ...


class StartedControl(ports.ControlView, Protocol):
    async def wait_ready(self) -> None: ...


class NatsSide(Protocol):
    """What the contract suite asks of an implementation. Everything it hands out is stopped with it."""

    @property
    def log(self) -> ports.EvidenceLog: ...
    @property
    def reader(self) -> ports.EvidenceReader: ...
    @property
    def outbox(self) -> ports.Outbox: ...
    def door(self, answer_within_s: float = 5.0) -> ports.CommandDoor: ...
    def admission_view(self) -> StartedView: ...
    def control_view(self) -> StartedControl: ...
    async def inbox(self, node: str) -> ports.InstructionInbox: ...


class InMemorySide:
    """The fakes."""

    def __init__(self) -> None:
        self._nats = fakes.InMemoryNats()
        self._buckets: list[InMemoryAdmissionView | InMemoryControlView] = []
        self.log = fakes.InMemoryEvidenceLog(self._nats)
        self.reader = fakes.InMemoryEvidenceReader(self._nats)
        self.outbox = fakes.InMemoryOutbox(self._nats)

    def door(self, answer_within_s: float = 5.0) -> ports.CommandDoor:
        return fakes.InMemoryCommandDoor(self._nats, answer_within_s)

    def admission_view(self) -> StartedView:
        view = InMemoryAdmissionView(self._nats)
        self._buckets.append(view)
        view.start()
        return view

    def control_view(self) -> StartedControl:
        view = InMemoryControlView(self._nats)
        self._buckets.append(view)
        view.start()
        return view

    async def inbox(self, node: str) -> ports.InstructionInbox:
        return fakes.InMemoryInstructionInbox(self._nats, node)

    async def close(self) -> None:
        for bucket in self._buckets:
            await bucket.stop()


class JetStreamSide:
    """The real ones: core's ports on a core connection, connect's on a connect connection."""

    def __init__(self, core: NatsGateway, connect: NatsGateway) -> None:
        self.core = core
        self.connect = connect
        self._views: list[NatsAdmissionView | NatsControlView] = []
        self.log = NatsEvidenceLog(connect.publisher, "node.1")
        self.reader = NatsEvidenceReader(core.connection, core.replies)
        self.outbox = NatsOutbox(core.connection, core.replies, core.publisher)

    def door(self, answer_within_s: float = 5.0) -> ports.CommandDoor:
        return NatsCommandDoor(self.core.connection, self.core.replies, answer_within_s=answer_within_s)

    def admission_view(self) -> StartedView:
        view = NatsAdmissionView(self.connect.connection, self.connect.replies, heartbeat_s=0.5)
        self._views.append(view)
        view.start()
        return view

    def control_view(self) -> StartedControl:
        view = NatsControlView(self.connect.connection, self.connect.replies)
        self._views.append(view)
        view.start()
        return view

    async def inbox(self, node: str) -> ports.InstructionInbox:
        inbox = NatsInstructionInbox(self.connect.connection, node)
        await inbox.start()
        return inbox

    async def close(self) -> None:
        for view in self._views:
            await view.stop()


async def open_gateway(server: EmbeddedNats, role: str) -> NatsGateway:
    """A connected gateway of one role."""
    gateway = NatsGateway(
        NatsSettings(
            (server.url,), server.seed_file(role), inbox_prefix(role), f"test {role}", longest_pause_s=0.1
        )
    )
    await gateway.start()
    await gateway.connected(within_s=PATIENCE_S)
    return gateway


async def empty(gateway: NatsGateway) -> None:
    """Delete every stream and bucket."""
    names = await gateway.replies.request("$JS.API.STREAM.NAMES", b"", 5)
    for name in msgspec.json.decode(names.payload)["streams"] or ():
        await gateway.replies.request(f"$JS.API.STREAM.DELETE.{name}", b"", 5)


@contextlib.asynccontextmanager
async def jetstream_side(
    server: EmbeddedNats, layout: NatsLayout | None = None
) -> AsyncIterator[JetStreamSide]:
    """Fresh streams and buckets and a side on them."""
    core = await open_gateway(server, "core")
    connect = await open_gateway(server, "connect")
    await empty(core)
    await core.ensure_layout(layout or NatsLayout())
    side = JetStreamSide(core, connect)
    try:
        yield side
    finally:
        await side.close()
        await connect.close()
        await empty(core)
        await core.close()


@contextlib.asynccontextmanager
async def in_memory_side() -> AsyncIterator[InMemorySide]:
    side = InMemorySide()
    try:
        yield side
    finally:
        await side.close()


# ---------------------------------------------------------------- what tests say


def a_csr(charger_id: str, number: int = 1, size: int = 64) -> Evidence:
    """A piece of evidence whose id follows from its arguments."""
    return Evidence(
        evidence_id=evidence_id(charger_id, str(number), "CsrReceived"),
        charger_id=charger_id,
        source="charger",
        observed_at=AT,
        body=CsrReceived(session_id="s", message_id=str(number), purpose="charging_station", csr="c" * size),
    )


def a_record(charger_id: str, revision: int, mode: str = "accepted") -> AdmissionRecord:
    return msgspec.convert(
        {
            "charger_id": charger_id,
            "managed_identity_id": f"mi-{charger_id}",
            "serial_number": "SN1",
            "expected_common_name": "SN1",
            "organization": None,
            "family": "acme",
            "site": "depot",
            "cohort": "one",
            "allowed_profiles": [3],
            "mode": mode,
            "revision": revision,
        },
        AdmissionRecord,
    )


async def read_some(reader: ports.EvidenceReader, partition: int, after: int, wanted: int) -> list[Evidence]:
    """The next `wanted` pieces of evidence after a position."""
    return [evidence for _, evidence in await read_positions(reader, partition, after, wanted)]


async def read_positions(
    reader: ports.EvidenceReader, partition: int, after: int, wanted: int
) -> list[tuple[int, Evidence]]:
    found: list[tuple[int, Evidence]] = []
    batches = reader.read(partition, after)
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for batch in batches:
                found += [(at, msgspec.json.decode(raw, type=Evidence)) for at, raw in batch]
                if len(found) >= wanted:
                    return found
    finally:
        await batches.aclose()  # type: ignore[attr-defined]  # every reader here is an async generator
    raise AssertionError("a reader never ends by itself")


class Seen(list[object]):
    """A list that can be waited on."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def add(self, *item: object) -> None:
        self.append(item[0] if len(item) == 1 else item)
        self._changed.set()

    async def until(self, holds: Callable[[Seen], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds(self):
                self._changed.clear()
                await self._changed.wait()

    async def until_count(self, count: int) -> None:
        await self.until(lambda seen: len(seen) >= count)
