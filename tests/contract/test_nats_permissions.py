"""With the nkey roles of the embedded server: connect can do its work and nothing that is core's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bfactors import subject
from bfactors.errors import SettingsError, Unavailable
from bfactors.identity import partition_of
from deploy.embedded import EmbeddedNats, inbox_prefix
from gateways.nats.evidence_log import NatsEvidenceLog
from gateways.nats.layout import NatsLayout
from gateways.nats.node_watch import NodeWatch
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.outbox import NatsOutbox
from gateways.nats.presence import NodePresence
from gateways.nats.publisher import AckedPublisher
from gateways.nats.relay import NatsRelay
from gateways.nats.settings import NatsSettings
from tests.fakes.nats_sides import (
    AWKWARD_NAMES,
    JetStreamSide,
    Seen,
    a_csr,
    a_record,
    jetstream_side,
    open_gateway,
    read_some,
)
from tests.patience import PATIENCE_S


@pytest.fixture
async def side(nats_server: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(nats_server) as jetstream:
        yield jetstream


async def test_connect_appends_evidence_relays_and_tells_its_presence(side: JetStreamSide) -> None:
    seen = Seen()
    watch = NodeWatch(
        side.core.connection,
        side.core.replies,
        lost=lambda _: None,
        present=lambda each: seen.add(each.node),
    )
    watch.start()
    presence = NodePresence(side.connect.connection, side.connect.publisher, "no.de", "inc")
    presence.start()
    await NatsRelay(side.connect.publisher).publish("CP 1", "MeterValues", "m\r\nBf-Action: x", b"{}")
    await NatsEvidenceLog(side.connect.publisher, "no.de").append(a_csr("CP 1"))
    await seen.until_count(1)
    assert seen == ["no.de"]
    await presence.leave()
    await watch.stop()


async def test_connect_cannot_put_admission_records(side: JetStreamSide) -> None:
    publisher = AckedPublisher(side.connect.connection, side.connect.replies, ack_within_s=0.3)
    publisher.start()
    with pytest.raises(Unavailable):
        await NatsOutbox(side.connect.connection, side.connect.replies, publisher).put_admission(
            [a_record("CP1", 1)]
        )
    await publisher.close()
    view = side.admission_view()
    await view.wait_ready()
    assert view.get("CP1") is None


async def test_connect_cannot_read_evidence(side: JetStreamSide, caplog: pytest.LogCaptureFixture) -> None:
    await side.log.append(a_csr("CP1"))
    denied = await side.connect.connection.subscribe(subject.evidence_filter(1), lambda _: None)
    await side.connect.connection.flush()
    assert "permissions violation" in caplog.text.lower()
    await side.connect.connection.unsubscribe(denied)
    with pytest.raises(Unavailable):
        await side.connect.replies.request(
            f"$JS.API.STREAM.INFO.{subject.evidence_stream(partition_of('CP1'))}", b"", 0.2
        )


async def test_connect_can_neither_send_orders_nor_serve_commands(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await side.connect.connection.publish(subject.instruction("node", "s"), b"{}")
    await side.connect.connection.publish(subject.command(1), b"{}")
    await side.connect.connection.subscribe(subject.command(1), lambda _: None)
    await side.connect.connection.flush()
    said = caplog.text.lower()
    for refused in ("bf.instruction.node.s", 'to "bf.command.1"'):
        assert refused in said
    assert side.connect.connection.healthy  # a refused subject does not cost the connection


async def test_connect_cannot_make_or_change_the_layout(side: JetStreamSide) -> None:
    with pytest.raises(Unavailable):
        await side.connect.replies.request("$JS.API.STREAM.DELETE.BF_LEDGER", b"", 0.2)


async def test_relayed_traffic_keeps_its_payload_and_names(side: JetStreamSide) -> None:
    relay = NatsRelay(side.connect.publisher)
    for name in AWKWARD_NAMES:
        await relay.publish(name, "MeterValues", "m1", b'{"n":1}')
        await relay.publish(name, "MeterValues", "m1", b'{"n":1}')
        await relay.publish(name, "MeterValues", "m1", b'{"n":2}')  # counts from 1 again: another message
    seen = Seen()
    batches = OrderedStream(
        side.core.connection, side.core.replies, subject.STREAM_OCPP, start="after-position"
    ).batches()
    async for batch in batches:
        for stored in batch.messages:
            seen.add(
                stored.subject, stored.headers["Bf-Action"], stored.headers["Bf-Message-Id"], stored.payload
            )
        if batch.caught_up:
            break
    await batches.aclose()
    assert seen == [
        (subject.ocpp(name), "MeterValues", "m1", payload)
        for name in AWKWARD_NAMES
        for payload in (b'{"n":1}', b'{"n":2}')
    ]


async def test_a_server_off_loopback_needs_tls_and_a_seed_that_can_be_read(
    nats_server: EmbeddedNats, tmp_path: Path
) -> None:
    seed = nats_server.seed_file("core")
    with pytest.raises(SettingsError, match="TLS"):
        NatsSettings(("nats://192.0.2.7:4222",), seed, inbox_prefix("core"), "x")
    with pytest.raises(SettingsError, match="seed"):
        NatsSettings((nats_server.url,), tmp_path / "absent.seed", inbox_prefix("core"), "x")
    broken = tmp_path / "broken.seed"
    broken.write_text("SUANOTASEED")
    with pytest.raises(SettingsError, match="seed") as raised:
        NatsSettings((nats_server.url,), broken, inbox_prefix("core"), "x")
    assert "SUANOTASEED" not in str(raised.value)


async def test_the_layout_is_made_once_and_corrected_when_it_differs(nats_server: EmbeddedNats) -> None:
    async with jetstream_side(nats_server, NatsLayout(evidence_bytes=1_000_000)) as side:
        await side.log.append(a_csr("CP1"))
        await side.core.ensure_layout(NatsLayout(evidence_bytes=2_000_000))
        name = subject.evidence_stream(partition_of("CP1"))
        info = msgspec.json.decode(
            (await side.core.replies.request(f"$JS.API.STREAM.INFO.{name}", b"", 5)).payload
        )
        config = info["config"]
        assert info["state"]["messages"] == 1
        assert (config["max_bytes"], config["discard"], config["storage"]) == (2_000_000, "new", "file")
        assert config["max_age"] == 7 * 24 * 3600 * 10**9
        assert config["duplicate_window"] == 120 * 10**9
        names = msgspec.json.decode(
            (await side.core.replies.request("$JS.API.STREAM.NAMES", b"", 5)).payload
        )["streams"]
        assert sorted(names) == sorted(
            [subject.evidence_stream(number) for number in range(16)]
            + ["BF_LEDGER", "BF_OCPP", "BF_NODE", "KV_bf_admission", "KV_bf_control"]
        )


async def test_a_lost_store_starts_behind_the_positions_the_ledger_has_passed(
    nats_server: EmbeddedNats,
) -> None:
    partition = partition_of("CP1")
    async with jetstream_side(nats_server, NatsLayout(first_evidence={partition: 1001})) as side:
        await side.log.append(a_csr("CP1"))
        assert await read_some(side.reader, partition, 1000, 1) == [a_csr("CP1")]


async def test_a_reader_refuses_a_stream_that_ends_before_its_position(
    nats_server: EmbeddedNats, caplog: pytest.LogCaptureFixture
) -> None:
    async with jetstream_side(nats_server) as side:
        paused = asyncio.Event()

        async def wait(_: float) -> None:
            paused.set()
            await asyncio.Event().wait()

        stream = OrderedStream(
            side.core.connection,
            side.core.replies,
            subject.evidence_stream(1),
            start="after-position",
            position=50,
            wait=wait,
        )
        reading = asyncio.ensure_future(anext(stream.batches()))
        await asyncio.wait_for(paused.wait(), PATIENCE_S)
        assert "read up to 50 before" in caplog.text
        reading.cancel()
        await asyncio.wait({reading})


async def test_two_gateways_of_one_role_do_not_hear_each_others_answers(nats_server: EmbeddedNats) -> None:
    one, other = await open_gateway(nats_server, "core"), await open_gateway(nats_server, "core")
    answers = [await each.replies.request("$JS.API.INFO", b"", 5) for each in (one, other, one)]
    assert all(b"account_info_response" in answer.payload for answer in answers)
    await one.close()
    await other.close()
