"""The embedded NATS keeps what it acknowledged, and each user may do its work and nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from deploy.embedded import DataDirectory, EmbeddedNats, inbox_prefix
from deploy.embedded.port import lasting_port
from tests.patience import PATIENCE_S

RECORD_COUNT = 500
RECORD_BYTES = 8000  # together past the 1 MB after which the server asks the watcher for flow control


@dataclass
class User:
    """A connection that keeps the refusals the server sent it."""

    client: Client
    refusals: list[str] = field(default_factory=list)
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def jetstream(self) -> JetStreamContext:
        return self.client.jetstream(timeout=PATIENCE_S)

    async def hear_error(self, error: Exception) -> None:
        self.refusals.append(str(error).lower())
        self.refused.set()

    async def settle(self) -> None:
        """Return when the server has every subscription: nats-py's PING overtakes a queued SUB, so one flush is not enough."""
        await self.client.flush()
        await self.client.flush()

    async def is_refused(self, action: Callable[[], Awaitable[object]], subject: str) -> bool:
        """Whether the server refuses what `action` does on `subject`; the client reports it after the flush returned."""
        self.refused.clear()
        await action()
        await self.client.flush()
        await asyncio.wait_for(self.refused.wait(), PATIENCE_S)
        return "permissions violation" in self.refusals[-1] and subject.lower() in self.refusals[-1]


@asynccontextmanager
async def logged_in(server: EmbeddedNats, role: str) -> AsyncIterator[User]:
    user = User(Client())
    await user.client.connect(
        server.url,
        nkeys_seed=str(server.seed_file(role)),
        inbox_prefix=inbox_prefix(role),
        error_cb=user.hear_error,
        allow_reconnect=False,
    )
    try:
        yield user
    finally:
        await user.client.close()


@dataclass
class Room:
    """The real streams and buckets, as the gateway will create them, with records in the admission bucket."""

    core: User
    connect: User
    observer: User
    admission: KeyValue


@pytest.fixture
async def room(nats_emptied: EmbeddedNats) -> AsyncIterator[Room]:
    server = nats_emptied
    async with (
        logged_in(server, "core") as core,
        logged_in(server, "connect") as connect,
        logged_in(server, "observer") as observer,
    ):
        for name, subject in (
            ("BF_LEDGER", "bf.ledger.>"),
            ("BF_EVIDENCE_0", "bf.evidence.0.>"),
            ("BF_OCPP", "bf.ocpp.>"),
        ):
            await core.jetstream.add_stream(name=name, subjects=[subject])
        # Direct gets are what a copying attack needs, so the test grants them the chance.
        admission = await core.jetstream.create_key_value(bucket="bf_admission", direct=True)
        await core.jetstream.create_key_value(bucket="bf_control")
        for number in range(RECORD_COUNT):
            await core.jetstream.publish_async(f"$KV.bf_admission.c{number}", b"r" * RECORD_BYTES)
        await core.jetstream.publish_async_completed()
        await admission.put("c0", b"record of c0")
        yield Room(core, connect, observer, admission)


async def test_connect_publishes_evidence_and_relay_and_repeats_are_recognised(room: Room) -> None:
    jetstream = room.connect.jetstream
    first = await jetstream.publish("bf.evidence.0.n1.CsrReceived.e1", b"{}", headers={"Nats-Msg-Id": "e1"})
    again = await jetstream.publish("bf.evidence.0.n1.CsrReceived.e1", b"{}", headers={"Nats-Msg-Id": "e1"})
    assert (first.stream, again.seq, again.duplicate) == ("BF_EVIDENCE_0", first.seq, True)
    assert (await jetstream.publish("bf.ocpp.n1.c1", b"{}")).stream == "BF_OCPP"
    promise = await jetstream.publish_async("bf.evidence.0.n1.SessionOpened.e2", b"{}")
    assert (await asyncio.wait_for(promise, PATIENCE_S)).seq == first.seq + 1


async def test_connect_watches_admission_from_the_snapshot_to_a_change_and_a_removal(room: Room) -> None:
    bucket = await room.connect.jetstream.key_value("bf_admission")
    watcher = await bucket.watchall()
    seen: dict[str, bytes] = {}
    while (entry := await watcher.updates(timeout=PATIENCE_S)) is not None:
        seen[entry.key] = entry.value
    assert len(seen) == RECORD_COUNT
    await room.admission.put("c7", b"changed")
    change = await watcher.updates(timeout=PATIENCE_S)
    await room.admission.delete("c7")
    removal = await watcher.updates(timeout=PATIENCE_S)
    assert (change.key, change.value, removal.operation) == ("c7", b"changed", "DEL")
    await watcher.stop()
    assert room.connect.refusals == []


@pytest.mark.parametrize("bucket_name", ["bf_admission", "bf_control"])
async def test_connect_binds_and_reads_single_records(room: Room, bucket_name: str) -> None:
    await (await room.core.jetstream.key_value(bucket_name)).put("one", b"value")
    bucket = await room.connect.jetstream.key_value(bucket_name)
    assert (await bucket.get("one")).value == b"value"
    assert (await bucket.status()).values >= 1


@pytest.mark.parametrize("subject", ["bf.secret.s1", "bf.ocpp-decision.c1", "bf.node.n1"])
async def test_connect_asks_and_is_answered(room: Room, subject: str) -> None:
    questions = await room.core.client.subscribe(subject)
    await room.core.settle()
    asking = asyncio.create_task(room.connect.client.request(subject, b"?", timeout=PATIENCE_S))
    await (await questions.next_msg(timeout=PATIENCE_S)).respond(b"!")
    assert (await asking).data == b"!"


async def test_connect_hears_instructions_and_direct_bucket_messages(room: Room) -> None:
    instructions = await room.connect.client.subscribe("bf.instruction.n1.>")
    controls = await room.connect.client.subscribe("$KV.bf_control.>")
    await room.connect.settle()
    await room.core.client.publish("bf.instruction.n1.s1", b"do")
    await room.core.jetstream.publish("$KV.bf_control.pause", b"on")
    assert (await instructions.next_msg(timeout=PATIENCE_S)).data == b"do"
    assert (await controls.next_msg(timeout=PATIENCE_S)).data == b"on"


@pytest.mark.parametrize("role", ["connect", "observer"])
@pytest.mark.parametrize(
    "subject",
    [
        "bf.ledger.CertificateIssued.x",
        "bf.command.0",
        "bf.instruction.n1.s1",
        "$KV.bf_admission.c1",
        "$KV.bf_control.pause",
        "_INBOX_core.x",
        "_INBOX_connect.x",
        "$JS.API.STREAM.CREATE.EVIL",
        "$JS.API.STREAM.UPDATE.BF_LEDGER",
        "$JS.API.STREAM.DELETE.KV_bf_admission",
        "$JS.API.STREAM.PURGE.BF_EVIDENCE_0",
        "$JS.API.STREAM.MSG.DELETE.BF_LEDGER",
        "$JS.API.STREAM.MSG.GET.BF_EVIDENCE_0",
        "$JS.API.STREAM.SNAPSHOT.BF_LEDGER",
        "$JS.API.CONSUMER.CREATE.BF_LEDGER",
        "$JS.API.CONSUMER.CREATE.BF_EVIDENCE_0.name.bf.evidence.0.x",
        "$JS.API.CONSUMER.DURABLE.CREATE.KV_bf_admission.name",
        "$JS.API.CONSUMER.DELETE.KV_bf_admission.name",
        "$JS.API.DIRECT.GET.BF_LEDGER",
        "$JS.ACK.BF_EVIDENCE_0.name.1.1.1.1.0",
    ],
)
async def test_guests_may_not_publish_what_only_core_decides(room: Room, role: str, subject: str) -> None:
    user: User = getattr(room, role)
    assert await user.is_refused(lambda: user.client.publish(subject, b"{}"), subject)


@pytest.mark.parametrize("subject", ["bf.evidence.0.n1.k.x", "bf.ocpp.n1", "bf.secret.s1", "bf.node.n1"])
async def test_the_observer_may_not_publish_what_connect_may(room: Room, subject: str) -> None:
    assert await room.observer.is_refused(lambda: room.observer.client.publish(subject, b"{}"), subject)


@pytest.mark.parametrize(
    ("role", "subject"),
    [
        ("connect", "bf.command.>"),
        ("connect", "bf.ledger.>"),
        ("connect", "bf.evidence.>"),
        ("connect", "bf.secret.>"),
        ("connect", "_INBOX_core.>"),
        ("connect", "$JS.API.>"),
        ("connect", ">"),
        ("observer", "bf.secret.>"),
        ("observer", "bf.ocpp.>"),
        ("observer", "bf.evidence.>"),
        ("observer", "bf.instruction.>"),
        ("observer", "$KV.bf_admission.>"),
        ("observer", "_INBOX_connect.>"),
        ("observer", ">"),
    ],
)
async def test_guests_may_not_listen_where_they_are_not_addressed(
    room: Room, role: str, subject: str
) -> None:
    user: User = getattr(room, role)
    assert await user.is_refused(lambda: user.client.subscribe(subject), subject)


async def test_the_observer_hears_the_ledger_and_sees_streams(room: Room) -> None:
    ledger = await room.observer.client.subscribe("bf.ledger.>")
    await room.observer.settle()
    await room.core.jetstream.publish("bf.ledger.CertificateIssued.x", b"event")
    assert (await ledger.next_msg(timeout=PATIENCE_S)).data == b"event"
    assert (await room.observer.jetstream.stream_info("BF_LEDGER")).state.messages == 1
    assert "BF_OCPP" in [stream.config.name for stream in await room.observer.jetstream.streams_info()]


@pytest.mark.parametrize(
    ("question", "body"),
    [
        ("bf.evidence.0.n1.k.x", b"{}"),
        ("$JS.API.DIRECT.GET.KV_bf_admission", b'{"last_by_subj": "$KV.bf_admission.c0"}'),
        ("$JS.API.DIRECT.GET.KV_bf_admission.$KV.bf_admission.c0", b""),
        ("$JS.API.STREAM.MSG.GET.KV_bf_admission", b'{"last_by_subj": "$KV.bf_admission.c0"}'),
        ("$JS.API.STREAM.INFO.KV_bf_admission", b""),
    ],
)
async def test_the_servers_own_answer_cannot_be_steered_into_the_ledger_or_another_chargers_record(
    room: Room, question: str, body: bytes
) -> None:
    """Without separate accounts the second question copies the record of c0 over that of c1."""
    for target in ("bf.ledger.CertificateActivated.x", "$KV.bf_admission.c1"):
        await room.connect.client.publish(question, body, reply=target)
    # A later question of the same connection is answered after the earlier ones were.
    await room.connect.client.request(question, body, timeout=PATIENCE_S)
    await room.core.client.flush()
    assert (await room.core.jetstream.stream_info("BF_LEDGER")).state.messages == 0
    assert (await room.admission.get("c1")).value == b"r" * RECORD_BYTES


async def test_a_consumer_on_a_bucket_cannot_write_into_a_stream(room: Room) -> None:
    for number, target in enumerate(("bf.ledger.CertificateActivated.x", "$KV.bf_control.pause")):
        order = {
            "stream_name": "KV_bf_admission",
            "config": {"deliver_subject": target, "deliver_policy": "all", "ack_policy": "none"},
        }
        answer = await room.connect.client.request(
            "$JS.API.CONSUMER.CREATE.KV_bf_admission", json.dumps(order).encode(), timeout=PATIENCE_S
        )
        assert json.loads(answer.data)["num_pending"] == RECORD_COUNT, number
    watcher = await (await room.connect.jetstream.key_value("bf_admission")).watchall()
    while await watcher.updates(timeout=PATIENCE_S) is not None:
        pass
    await watcher.stop()
    assert (await room.core.jetstream.stream_info("BF_LEDGER")).state.messages == 0
    assert (await room.core.jetstream.stream_info("KV_bf_control")).state.messages == 0


async def test_a_client_without_a_known_key_is_refused(nats_server: EmbeddedNats) -> None:
    async def ignore(error: Exception) -> None:
        del error

    with pytest.raises(NatsError, match=r"(?i)authorization"):
        await nats.connect(nats_server.url, allow_reconnect=False, error_cb=ignore)


@pytest.fixture(scope="module")
def durable_server() -> Iterator[EmbeddedNats]:
    folder = Path(tempfile.mkdtemp(prefix="bf-nats-"))
    with DataDirectory.open(folder) as data:
        server = EmbeddedNats.start(data)
        yield server
        server.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_acknowledged_messages_survive_on_the_same_port(durable_server: EmbeddedNats, end: str) -> None:
    url, pid = durable_server.url, durable_server.pid
    async with logged_in(durable_server, "core") as core:
        await core.jetstream.add_stream(name=f"KEPT_{end}", subjects=[f"kept.{end}"])
        await core.jetstream.publish(f"kept.{end}", b"m", headers={"Nats-Msg-Id": "m1"})
        if end == "kill":
            os.kill(pid, 9)
        durable_server.restart()
    assert durable_server.url == url
    assert durable_server.pid != pid
    async with logged_in(durable_server, "core") as core:
        repeated = await core.jetstream.publish(f"kept.{end}", b"m", headers={"Nats-Msg-Id": "m1"})
        assert (repeated.seq, repeated.duplicate) == (1, True)


def test_no_outgoing_connection_takes_its_port_while_it_is_away(nats_server: EmbeddedNats) -> None:
    first_given, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
    assert int(nats_server.url.rpartition(":")[2]) < int(first_given)


def test_a_port_that_is_snatched_before_it_is_bound_costs_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, DataDirectory.open(tmp_path / "data") as data:
        ports = iter([taken.getsockname()[1], lasting_port()])
        monkeypatch.setattr("deploy.embedded.nats.lasting_port", lambda: next(ports))
        server = EmbeddedNats.start(data, durable=False)
        server.stop()
        assert not server.url.endswith(f":{taken.getsockname()[1]}")


def test_the_durable_server_flushes_every_message_and_knows_no_test_user(
    durable_server: EmbeddedNats,
) -> None:
    configuration = json.loads(
        (durable_server.seed_file("core").parents[1] / "nats" / "nats.conf").read_text()
    )
    assert configuration["jetstream"]["sync_interval"] == "always"
    users = [user for account in configuration["accounts"].values() for user in account["users"]]
    assert len(users) == 3
    with pytest.raises(Exception, match="no NATS user"):
        durable_server.seed_file("test")


def test_seeds_and_store_are_private(durable_server: EmbeddedNats) -> None:
    home = durable_server.seed_file("core").parents[1]
    for role in ("core", "connect", "observer"):
        assert stat.S_IMODE(durable_server.seed_file(role).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "nats").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "nats" / "nats.conf").stat().st_mode) == 0o600
    assert durable_server.seed_file("core").read_text() not in (home / "nats" / "nats.conf").read_text()
