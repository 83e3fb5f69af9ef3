"""Chargers upload logs over real HTTP: what is taken, what is refused, and what is left when it goes wrong."""

import asyncio
import base64
import hashlib
import itertools
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.errors import SettingsError
from bfactors.log_upload import stored_name, ticket_hash
from gateways.logs.directory_store import DirectoryLogStore
from gateways.logs.download import send_log
from gateways.logs.limits import ReceiverLimits
from gateways.logs.multipart import FilePart
from gateways.logs.pace import Pace, Progress
from gateways.logs.quota import QuotaLimits
from tests.core.x509_maker import Authority
from tests.fakes.log_world import AT, LogWorld, until
from tests.patience import PATIENCE_S

LOG = b"2026-03-01T11:59:00Z boot\n" * 400
BOUNDARY = "----charger-42"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LogWorld]:
    async with LogWorld(tmp_path / "logs").served() as world:
        yield world


def form(
    content: bytes, disposition: str = 'form-data; name="f"; filename="boot.log"', extra: str = ""
) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{extra}\r\n"
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"

# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_log_is_stored_hashed_and_reported_before_the_charger_is_answered(
    world: LogWorld, method: str
) -> None:
    ticket = world.ticket()
    answer = await world.put(ticket, LOG, "Content-Type: text/plain", name="/boot.log", method=method)
    assert (answer.status, answer.body) == (200, b"")
    [received] = world.tickets.received
    assert received.charger_id == "CP-1"
    assert received.request_id == 7
    assert received.log_type == "SecurityLog"
    assert received.sha256 == hashlib.sha256(LOG).hexdigest()
    assert received.size_bytes == len(LOG)
    assert received.stored_name == stored_name("CP-1", AT, "id1")
    assert received.received_at == AT
    assert received.remote_address == "127.0.0.1"
    assert received.content_type == "text/plain"
    assert received.file_name == "boot.log"
    assert received.ticket_hash == ticket_hash(ticket)
    assert world.content() == [LOG]
    assert world.outcome("stored") == 1
    assert world.number("bf_log_upload_bytes_total") == len(LOG)
    assert world.number("bf_log_stored_bytes") == len(LOG)
    assert world.number("bf_log_uploads_open") == 0


async def test_a_chunked_log_of_many_pieces_never_lies_in_memory_whole(world: LogWorld) -> None:
    size, piece = 24 * 1024 * 1024, bytes(range(256)) * 512
    ticket = world.ticket(max_bytes=size)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    url = f"http://127.0.0.1:{world.server.port}/upload/{ticket}"
    async with aiohttp.ClientSession() as http, http.put(url, data=pieces()) as response:
        assert response.status == 200
    [received] = world.tickets.received
    assert received.size_bytes == size
    assert received.sha256 == hashlib.sha256(piece * (size // len(piece))).hexdigest()
    assert world.store.largest_write < 1024 * 1024


async def test_a_form_from_a_http_library_is_unwrapped(world: LogWorld) -> None:
    data = aiohttp.FormData()
    data.add_field("comment", "after the storm")
    data.add_field("file", LOG, filename="diag ü.log", content_type="application/x-log")
    url = f"http://127.0.0.1:{world.server.port}/upload/{world.ticket(max_bytes=len(LOG))}/ignored.bin"
    async with aiohttp.ClientSession() as http, http.post(url, data=data) as response:
        assert response.status == 200
    assert world.content() == [LOG]
    assert world.tickets.received[0].content_type == "application/x-log"


async def test_a_form_sent_byte_by_byte_gives_the_same_log(world: LogWorld) -> None:
    content = f"a\r\n--{BOUNDARY[:-1]}\r\n--\r\n".encode()
    body = form(content)
    client = await world.connect()
    head = f"POST /upload/{world.ticket()} HTTP/1.1\r\nHost: logs\r\n{FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
    client.send(head.encode())
    for at in range(len(body)):
        client.send(body[at : at + 1])
        await asyncio.sleep(0)
    assert (await client.answer()).status == 200
    assert world.content() == [content]
    assert world.tickets.received[0].file_name == "boot.log"


async def test_a_charger_that_waits_for_100_continue_gets_it_and_is_answered_then(world: LogWorld) -> None:
    client = await world.begin(world.ticket(), len(LOG))
    client.send(LOG)
    assert (await client.answer()).status == 200
    assert world.content() == [LOG]


async def test_a_charger_that_waits_for_100_continue_is_refused_before_it_sends_a_byte(
    world: LogWorld,
) -> None:
    head = "PUT /upload/{} HTTP/1.1\nHost: logs\nExpect: 100-continue\nContent-Length: {}"
    unknown = await world.ask(head.format("A" * 43, 10))
    too_large = await world.ask(head.format(world.ticket(max_bytes=100), 101))
    assert unknown.status == 404
    assert too_large.status == 413


async def test_a_packed_body_is_kept_packed(world: LogWorld) -> None:
    # Ten bytes of a would-be gzip stream that says it is one.
    packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
    answer = await world.put(world.ticket(), packed, "Content-Encoding: gzip")
    assert answer.status == 200
    assert world.content() == [packed]


async def test_a_log_of_exactly_the_allowed_size_is_taken(world: LogWorld) -> None:
    assert (await world.put(world.ticket(max_bytes=len(LOG)), LOG)).status == 200


async def test_over_tls_the_url_s_credential_is_enough(tmp_path: Path) -> None:
    root = Authority.root("Log root", now=datetime.now(UTC))
    chain, key = root.leaf("localhost", dns_name="localhost").write(tmp_path, "logs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    async with LogWorld(tmp_path / "logs").served("localhost", context) as world:
        ticket = world.ticket(credential=("u1", "p:w/1"))
        url = f"https://u1:p%3Aw%2F1@localhost:{world.server.port}/upload/{ticket}"
        trust = ssl.create_default_context(cadata=root.pair.pem)
        async with aiohttp.ClientSession() as http, http.put(url, data=LOG, ssl=trust) as response:
            assert response.status == 200
        assert world.content() == [LOG]


# ---------------------------------------------------------------- who may


async def test_a_used_an_expired_and_an_unknown_ticket_look_alike(world: LogWorld) -> None:
    used, expired = world.ticket(), world.ticket(minutes=1)
    assert (await world.put(used, LOG)).status == 200
    world.clock.pass_by(60)
    answers = [await world.put(ticket, LOG) for ticket in (used, expired, "A" * 43)]
    answers += [
        await world.ask(f"PUT {path} HTTP/1.1\nHost: logs\nContent-Length: 0")
        for path in ("/", "/upload/", "/metrics")
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.text.partition("Date:")[0] for answer in answers}) == 1
    assert {answer.body for answer in answers} == {b""}
    assert len(world.tickets.received) == 1


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Authorization: Basic !!!",
        "Authorization: Basic " + base64.b64encode(b"u1").decode(),
        "Authorization: Basic " + base64.b64encode(b"u1:wrong").decode(),
        "Authorization: Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Authorization: Bearer " + base64.b64encode(b"u1:p1").decode(),
    ],
)
async def test_a_ticket_with_a_credential_is_worth_nothing_without_it(
    world: LogWorld, authorization: str
) -> None:
    ticket = world.ticket(credential=("u1", "p1"))
    refused = await world.put(ticket, LOG, *[authorization] * bool(authorization))
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    good = "Authorization: Basic " + base64.b64encode(b"u1:p1").decode()
    assert (await world.put(ticket, LOG, good)).status == 200


async def test_a_fault_of_ours_is_answered_and_the_next_upload_is_served(
    world: LogWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def claim(ticket_hash: str) -> None:
        raise RuntimeError("a defect")

    ticket = world.ticket()
    with monkeypatch.context() as patched:
        patched.setattr(world.tickets, "claim", claim)
        answer = await world.put(ticket, LOG)
    assert (answer.status, answer.body) == (500, b"")
    assert world.outcome("fault") == 1
    assert (await world.put(ticket, LOG)).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"])
async def test_no_other_method_is_answered(world: LogWorld, method: str) -> None:
    ticket = world.ticket()
    assert (await world.put(ticket, b"", method=method)).status == 405
    assert world.tickets.received == []


async def test_while_the_tickets_are_away_the_charger_is_told_to_come_again(world: LogWorld) -> None:
    ticket = world.ticket()
    world.tickets.away = True
    answer = await world.put(ticket, LOG)
    assert (answer.status, answer.headers["retry-after"]) == (503, "30")
    world.tickets.away = False
    assert (await world.put(ticket, LOG)).status == 200


# ---------------------------------------------------------------- once, and again after a break


async def test_a_second_upload_under_way_is_a_conflict_and_the_first_goes_on(world: LogWorld) -> None:
    ticket = world.ticket()
    first = await world.begin(ticket, len(LOG))
    first.send(LOG[:100])
    await world.written(100)
    assert (await world.put(ticket, b"other")).status == 409
    first.send(LOG[100:])
    assert (await first.answer()).status == 200
    assert world.content() == [LOG]
    assert (await world.put(ticket, LOG)).status == 404


async def test_of_two_receivers_with_one_ticket_the_later_keeps_nothing(tmp_path: Path) -> None:
    async with LogWorld(tmp_path / "a").served() as a, LogWorld(tmp_path / "b").served() as b:
        b.receiver._tickets = a.tickets
        b.clock.pass_by(1)
        ticket = a.ticket()
        late = await b.begin(ticket, len(LOG))
        assert (await a.put(ticket, LOG)).status == 200
        late.send(LOG)
        assert (await late.answer()).status == 409
        assert b.files() == []
        assert a.content() == [LOG]
        assert b.number("bf_log_stored_bytes") == 0
        assert a.tickets.failures == []


async def test_a_broken_off_upload_leaves_nothing_and_may_be_tried_again(world: LogWorld) -> None:
    ticket = world.ticket()
    client = await world.begin(ticket, len(LOG))
    client.send(LOG[:-1])
    await world.written(len(LOG) - 1)
    assert [name for name in world.files() if not name.startswith(".part-")] == []
    client.break_off()
    await until(lambda: bool(world.tickets.failures))
    [failure] = world.tickets.failures
    assert (failure.reason, failure.received_bytes) == ("broken-off", len(LOG) - 1)
    assert world.files() == []
    assert world.number("bf_log_uploads_open") == 0
    await until(lambda: world.outcome("broken-off") == 1)
    assert (await world.put(ticket, LOG)).status == 200


async def test_a_chunked_body_that_stops_without_its_last_chunk_is_no_log(world: LogWorld) -> None:
    client = await world.connect()
    head = f"PUT /upload/{world.ticket()} HTTP/1.1\r\nHost: logs\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head.encode() + b"5\r\nhello\r\n")
    await world.written(5)
    client.writer.write_eof()
    await until(lambda: bool(world.tickets.failures))
    assert world.files() == []
    await client.leave()


async def test_a_charger_that_leaves_before_its_answer_has_uploaded_all_the_same(world: LogWorld) -> None:
    world.store.may_finish.clear()
    client = await world.begin(world.ticket(), len(LOG))
    client.send(LOG)
    await world.written(len(LOG))
    client.break_off()
    world.store.may_finish.set()
    await until(lambda: bool(world.tickets.received))
    assert world.content() == [LOG]


async def test_a_store_that_fails_leaves_the_ticket_good(world: LogWorld) -> None:
    ticket = world.ticket()
    world.store.refuses_to_finish = True
    assert (await world.put(ticket, LOG)).status == 503
    assert [failure.reason for failure in world.tickets.failures] == ["store-away"]
    assert world.files() == []
    world.store.refuses_to_finish = False
    assert (await world.put(ticket, LOG)).status == 200


async def test_a_log_whose_recording_is_in_doubt_is_kept(world: LogWorld) -> None:
    world.store.may_finish.clear()
    client = await world.begin(world.ticket(), len(LOG))
    client.send(LOG)
    await world.written(len(LOG))
    world.tickets.away = True
    world.store.may_finish.set()
    assert (await client.answer()).status == 503
    assert world.content() == [LOG]
    assert world.tickets.failures == []


async def test_a_killed_receiver_leaves_no_log_and_the_next_start_no_trace(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.log_process", str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            port, ticket = (await process.stdout.readline()).decode().split()
            _, writer = await asyncio.open_connection("127.0.0.1", int(port))
            head = f"PUT /upload/{ticket} HTTP/1.1\r\nHost: logs\r\nContent-Length: {len(LOG)}\r\n\r\n"
            writer.write(head.encode() + LOG[:-1])
            assert await process.stdout.readline() == b"wrote\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    writer.close()
    store = DirectoryLogStore(tmp_path)
    assert await store.stored() == []
    assert len(list_of(tmp_path)) == 1
    await store.start()
    assert list_of(tmp_path) == []


async def test_a_server_that_closes_takes_what_is_half_written_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateways.logs.server.CLOSE_WITHIN_S", 0.05)
    async with LogWorld(tmp_path / "logs").served() as world:
        client = await world.begin(world.ticket())
        client.send(b"half")
        await world.written(4)
    assert world.files() == []
    assert world.number("bf_log_uploads_open") == 0
    assert world.outcome("shutdown") == 1
    await client.leave()


# ---------------------------------------------------------------- too much


async def test_a_chunked_log_is_cut_at_the_ticket_s_size(world: LogWorld) -> None:
    client = await world.connect()
    head = f"PUT /upload/{world.ticket(max_bytes=1000)} HTTP/1.1\r\nHost: logs\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.send(head.encode())
    sent = 0
    while not client.reader.at_eof() and sent < 64 * 1024 * 1024 and not client.writer.is_closing():
        client.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        sent += 0x10000
        if world.outcome("too-large"):
            break
        await asyncio.sleep(0)
    assert (await client.answer()).status == 413
    assert sent < 8 * 1024 * 1024
    assert world.store.written_bytes <= 1000
    assert world.files() == []
    assert [failure.reason for failure in world.tickets.failures] == ["too-large"]


async def test_a_form_s_file_is_measured_without_its_wrapping(world: LogWorld) -> None:
    ticket = world.ticket(max_bytes=len(LOG) - 1)
    assert (await world.put(ticket, form(LOG), FORM, method="POST")).status == 413
    assert world.files() == []
    assert (await world.put(ticket, form(LOG[1:]), FORM, method="POST")).status == 200


async def test_a_charger_that_sends_without_asking_still_sees_why_it_was_refused(world: LogWorld) -> None:
    body = b"x" * 200_000
    assert (await world.put("A" * 43, body)).status == 404
    assert (await world.put(world.ticket(max_bytes=1000), body)).status == 413


async def test_a_charger_has_a_bound_on_uploads_at_once_and_others_are_not_hurt(tmp_path: Path) -> None:
    limits = ReceiverLimits(quota=QuotaLimits(uploads=3, uploads_per_charger=2))
    async with LogWorld(tmp_path / "logs", limits).served() as world:
        clients = [await world.begin(world.ticket("CP-1")) for _ in range(2)]
        refused = await world.put(world.ticket("CP-1"), LOG)
        assert (refused.status, refused.headers["retry-after"]) == (429, "30")
        clients.append(await world.begin(world.ticket("CP-2")))
        assert world.number("bf_log_uploads_open") == 3
        assert (await world.put(world.ticket("CP-3"), LOG)).status == 429
        clients[0].break_off()
        await until(lambda: world.number("bf_log_uploads_open") == 2)
        assert (await world.put(world.ticket("CP-3"), LOG)).status == 200
        for client in clients[1:]:
            client.break_off()


async def test_the_bytes_of_a_charger_and_of_all_are_bounded_and_expiry_makes_room(tmp_path: Path) -> None:
    quota = QuotaLimits(stored_bytes=2500, stored_bytes_per_charger=1500)
    async with LogWorld(tmp_path / "logs", ReceiverLimits(quota=quota)).served() as world:
        assert (await world.put(world.ticket("CP-1"), b"x" * 1000)).status == 200
        assert (await world.put(world.ticket("CP-1"), b"x" * 501)).status == 507
        assert world.outcome("charger-quota") == 1
        world.clock.pass_by(3600)
        assert (await world.put(world.ticket("CP-2"), b"x" * 1200)).status == 200
        client = await world.connect()
        ticket = world.ticket("CP-3")
        head = f"PUT /upload/{ticket} HTTP/1.1\r\nHost: logs\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head.encode() + b"12d\r\n" + b"y" * 301 + b"\r\n0\r\n\r\n")
        assert (await client.answer()).status == 507
        assert world.outcome("fleet-quota") == 1
        assert await world.receiver.expire(AT + timedelta(seconds=1)) == 1
        assert (await world.put(ticket, b"y" * 301)).status == 200


async def test_what_lies_in_the_store_counts_after_a_restart(tmp_path: Path) -> None:
    limits = ReceiverLimits(quota=QuotaLimits(stored_bytes_per_charger=1500))
    async with LogWorld(tmp_path / "logs", limits).served() as world:
        assert (await world.put(world.ticket(), b"x" * 1000)).status == 200
    async with LogWorld(tmp_path / "logs", limits).served() as world:
        assert world.number("bf_log_stored_bytes") == 1000
        assert (await world.put(world.ticket(), b"x" * 501)).status == 507


@pytest.mark.parametrize(
    "head",
    [
        "PUT /upload/{} HTTP/1.1\nHost: logs\nX: " + "x" * 100_000,
        "PUT /upload/{} HTTP/1.1\nHost: logs\n" + "\n".join(f"X-{n}: {'y' * 500}" for n in range(1000)),
        "PUT /upload/{}/" + "n" * 100_000 + " HTTP/1.1\nHost: logs",
        "PUT /upload/{} HTTP/1.1\nHost: logs\nContent-Length: 5\nTransfer-Encoding: chunked",
        "PUT /upload/{} HTTP/1.1\nHost: logs\nContent-Length: -5",
        "PUT /upload/{} HTTP/1.1\nHost: logs\nContent-Length: 5\nContent-Length: 6",
        "\x16\x03\x01\x02{}",
    ],
    ids=["long header", "many headers", "long name", "two lengths", "negative", "twice", "TLS to plain"],
)
async def test_a_bomb_in_the_head_is_refused_without_an_echo(
    world: LogWorld, head: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ticket = world.ticket()
    answer = await world.ask(head.format(ticket))
    assert answer.status == 400
    assert answer.body == b""
    assert ticket not in caplog.text
    assert (await world.put(ticket, LOG)).status == 200


async def test_an_unknown_expectation_is_refused(world: LogWorld) -> None:
    assert (await world.put(world.ticket(), LOG, "Expect: a-miracle")).status == 417


async def test_a_body_without_length_and_an_empty_one_use_no_ticket_up(world: LogWorld) -> None:
    ticket = world.ticket()
    assert (await world.ask(f"PUT /upload/{ticket} HTTP/1.1\nHost: logs")).status == 411
    assert (await world.put(ticket, b"")).status == 400
    chunked = f"PUT /upload/{ticket} HTTP/1.1\nHost: logs\nTransfer-Encoding: chunked"
    assert (await world.ask(chunked, b"0\r\n\r\n")).status == 400
    assert (await world.put(ticket, form(b""), FORM)).status == 400
    assert (await world.put(ticket, LOG)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        form(LOG, extra="X: " + "x" * 9000 + "\r\n"),
        form(LOG, extra="".join(f"X-{n}: y\r\n" for n in range(2000))),
        b"preamble " * 5000 + b"\r\n" + form(LOG),
        form(LOG) + b"epilogue " * 5000,
        form(LOG)[: -len(BOUNDARY) - 6],
        form(LOG)[:-4],
        form(LOG, 'form-data; name="f"'),
        form(LOG).replace(f"--{BOUNDARY}--".encode(), form(LOG)),
        form(LOG, extra="no colon here\r\n"),
        LOG,
    ],
    ids=[
        "long header",
        "many headers",
        "preamble",
        "epilogue",
        "no end",
        "half an end",
        "no file",
        "two files",
        "broken header",
        "no form",
    ],
)
async def test_a_form_that_is_none_or_wraps_too_much_is_refused(world: LogWorld, body: bytes) -> None:
    ticket = world.ticket()
    assert (await world.put(ticket, body, FORM, method="POST")).status == 400
    assert world.files() == []
    assert (await world.put(ticket, form(LOG), FORM, method="POST")).status == 200
    assert world.content() == [LOG]


@pytest.mark.parametrize("content_type", ["", "; boundary=", "; boundary=" + "b" * 71, '; boundary="a\tb"'])
async def test_a_form_without_a_usable_boundary_is_refused(world: LogWorld, content_type: str) -> None:
    answer = await world.put(world.ticket(), form(LOG), f"Content-Type: multipart/form-data{content_type}")
    assert answer.status == 400


_TRAPS = [b"\r", b"\n", b"-", b"\r\n--b", b"\r\n--", b"--b--", b"b", b"\r\n\r\n", b"x"]


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(st.sampled_from(_TRAPS), max_size=12), sizes=st.lists(st.integers(1, 9), min_size=1))
def test_however_a_form_is_cut_its_file_comes_out_the_same(parts: list[bytes], sizes: list[int]) -> None:
    content = b"".join(parts)
    # With a longer boundary than the traps build, the content cannot hold it.
    boundary = b"b-b-long"
    body = b"--%s\r\nContent-Disposition: form-data; filename=f\r\n\r\n%s\r\n--%s--\r\n" % (
        boundary,
        content,
        boundary,
    )
    part, out, at = FilePart(boundary), b"", 0
    for size in itertools.chain(sizes, itertools.repeat(7)):
        if at >= len(body):
            break
        out += part.feed(body[at : at + size])
        at += size
    part.end()
    assert out == content
    assert part.file_name == "f"


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        ("/../../../../etc/passwd", "passwd"),
        ("/..%2f..%2f..%2fetc%2fpasswd", "passwd"),
        ("/..%5c..%5cboot.ini", "boot.ini"),
        ("/%2e%2e", None),
        ("/", None),
        ("/a%00b%0d%0aSet-Cookie:x.log", "abSet-Cookie:x.log"),
        ("/%e2%80%aegol.exe", "gol.exe"),
        ("/%ff%fe", "��"),
        ("/" + "n" * 3000, "n" * 255),
        ("/log%202026.txt?x=/../y", "log 2026.txt"),
    ],
)
async def test_a_file_name_is_recorded_and_leads_nowhere(
    world: LogWorld, sent: str, recorded: str | None
) -> None:
    assert (await world.put(world.ticket(), LOG, name=sent)).status == 200
    assert world.tickets.received[0].file_name == recorded
    name = stored_name("CP-1", AT, "id1")
    assert world.files() == [name, f"{name}.sha256"]


async def test_a_file_name_in_a_form_leads_nowhere_either(world: LogWorld) -> None:
    body = form(LOG, 'form-data; name="f"; filename="..\\\\..\\\\a\\"b.log"')
    assert (await world.put(world.ticket(), body, FORM, method="POST")).status == 200
    assert world.tickets.received[0].file_name == 'a"b.log'
    assert world.content() == [LOG]


# ---------------------------------------------------------------- too slow


async def test_a_connection_that_never_ends_its_head_is_closed(world: LogWorld) -> None:
    silent, dribbling = await world.connect(), await world.connect()
    dribbling.send(b"PUT /upload/x HTTP/1.1\r\nHost: lo")
    await until(lambda: len(world.server._open) == 2)
    world.clock.pass_by(19)
    world.server.sweep()
    dribbling.send(b"gs\r\n")
    assert len(world.server._open) == 2
    world.clock.pass_by(1)
    world.server.sweep()
    assert (await silent.answer()).status == 0
    assert (await dribbling.answer()).status == 0
    assert world.outcome("no-request") == 2


async def test_a_charger_that_falls_silent_is_cut_and_may_try_again(world: LogWorld) -> None:
    ticket = world.ticket()
    fast = b"x" * 50_000  # far above the lowest rate, for minutes
    client = await world.begin(ticket, len(fast) + 1)
    client.send(fast)
    await world.written(len(fast))
    world.clock.pass_by(59)
    world.server.sweep()
    world.clock.pass_by(1)
    world.server.sweep()
    assert (await client.answer()).status == 408
    assert world.files() == []
    assert [failure.reason for failure in world.tickets.failures] == ["too-slow"]
    assert (await world.put(ticket, LOG)).status == 200


async def test_a_charger_that_dribbles_is_cut_too(world: LogWorld) -> None:
    client = await world.begin(world.ticket())
    for n in range(1, 3):
        client.send(b"x")
        await world.written(n)
        world.clock.pass_by(29)
        world.server.sweep()
    client.send(b"x")
    await world.written(3)
    world.clock.pass_by(2)
    world.server.sweep()
    assert (await client.answer()).status == 408


async def test_a_charger_that_keeps_the_pace_is_cut_at_the_total_time_all_the_same(tmp_path: Path) -> None:
    limits = ReceiverLimits(pace=Pace(total_s=100))
    async with LogWorld(tmp_path / "logs", limits).served() as world:
        client = await world.begin(world.ticket(), 200_000)
        for n in range(1, 4):
            client.send(b"x" * 20_000)
            await world.written(20_000 * n)
            world.clock.pass_by(33)
            world.server.sweep()
        client.send(b"x" * 20_000)
        await world.written(80_000)
        world.clock.pass_by(1)
        world.server.sweep()
        assert (await client.answer()).status == 408


async def test_a_slow_store_is_not_the_chargers_fault(tmp_path: Path) -> None:
    limits = ReceiverLimits(pace=Pace(total_s=10_000))
    async with LogWorld(tmp_path / "logs", limits).served() as world:
        world.store.seconds_per_write = 200
        client = await world.begin(world.ticket(), len(LOG))
        client.send(LOG[:10])
        await world.written(10)
        world.server.sweep()
        client.send(LOG[10:])
        assert (await client.answer()).status == 200


def test_the_time_a_charger_is_waited_for_adds_up_over_its_pieces() -> None:
    progress = Progress(Pace(minimum_bytes_per_s=10, grace_s=60, silence_s=1000, total_s=1000), 0.0)
    for at in (0.0, 30.0):
        progress.waits(at)
        progress.received(300, at + 29)
    assert not progress.is_too_slow(500.0)
    progress.waits(500.0)
    assert not progress.is_too_slow(501.9)
    assert progress.is_too_slow(502.1)


async def test_more_connections_than_allowed_are_closed_at_once(tmp_path: Path) -> None:
    async with LogWorld(tmp_path / "logs", ReceiverLimits(connections=2)).served() as world:
        held = [await world.connect() for _ in range(2)]
        await until(lambda: len(world.server._open) == 2)
        assert (await (await world.connect()).answer()).status == 0
        assert world.outcome("connections") == 1
        held[0].break_off()
        await until(lambda: len(world.server._open) == 1)
        assert (await world.put(world.ticket(), LOG)).status == 200
        held[1].break_off()


async def test_a_taken_port_is_said_in_one_line(world: LogWorld, tmp_path: Path) -> None:
    other = LogWorld(tmp_path / "logs")
    with pytest.raises(SettingsError, match=f"127.0.0.1:{world.server.port}"):
        await other.server.start("127.0.0.1", world.server.port)


# ---------------------------------------------------------------- what is written down, and read back


async def test_no_log_line_holds_ticket_password_name_or_content(
    world: LogWorld, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    ticket = world.ticket(credential=("the-user", "the-password"))
    wrong = "Authorization: Basic " + base64.b64encode(b"the-user:wrong-password").decode()
    good = "Authorization: Basic " + base64.b64encode(b"the-user:the-password").decode()
    secret_log = b"very-secret-content " * 50
    await world.put(ticket, secret_log, wrong, name="/the-name.log")
    await world.put(ticket, form(secret_log, 'form-data; name="the-field'), good, FORM, name="/the-name.log")
    world.store.refuses_to_finish = True
    await world.put(ticket, secret_log, good, name="/the-name.log")
    world.store.refuses_to_finish = False
    await world.put(ticket, secret_log, good, name="/the-name.log")
    await world.put(ticket, secret_log, good, name="/the-name.log")
    assert world.outcome("stored") == 1
    written = caplog.text + "".join(capsys.readouterr())
    assert "outcome=stored charger=CP-1" in written
    assert "outcome=store-away charger=CP-1" in written
    for secret in (
        ticket,
        "password",
        "the-user",
        "the-name",
        "the-field",
        "very-secret",
        wrong[-12:],
        good[-12:],
    ):
        assert secret not in written


async def serve_download(world: LogWorld, name: str) -> tuple[web.AppRunner, str]:
    async def answer(request: web.Request) -> web.StreamResponse:
        sent = await send_log(request, world.store, name)
        return sent if sent is not None else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/"


async def test_an_operator_gets_a_file_to_save_and_nothing_to_run(world: LogWorld) -> None:
    await world.put(world.ticket(), b"<script>alert(1)</script>", "Content-Type: text/html", name="/x.html")
    name = world.tickets.received[0].stored_name
    runner, url = await serve_download(world, name)
    try:
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.status == 200
            assert await response.read() == b"<script>alert(1)</script>"
            assert response.headers["Content-Type"] == "application/octet-stream"
            assert response.headers["Content-Disposition"] == f'attachment; filename="{name}.log"'
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            digest = base64.b64encode(hashlib.sha256(b"<script>alert(1)</script>").digest()).decode()
            assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
        async with aiohttp.ClientSession() as http, http.head(url) as response:
            assert (response.status, response.content_length) == (200, 25)
        await world.store.delete(name)
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.status == 404
    finally:
        await runner.cleanup()


async def test_a_damaged_log_never_looks_complete(world: LogWorld) -> None:
    await world.put(world.ticket(), LOG)
    name = world.tickets.received[0].stored_name
    damage(world.folder / name)
    runner, url = await serve_download(world, name)
    try:
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                async with http.get(url) as response:
                    await response.read()
    finally:
        await runner.cleanup()


async def test_retention_deletes_what_is_old(world: LogWorld) -> None:
    await world.put(world.ticket(), LOG)
    world.clock.pass_by(86_400)
    await world.put(world.ticket(minutes=60), LOG)
    assert await world.receiver.expire(AT + timedelta(hours=1)) == 1
    assert [log.size_bytes for log in await world.store.stored()] == [len(LOG)]
    assert world.number("bf_log_stored_bytes") == len(LOG)


async def test_the_sweep_runs_by_itself_when_served_as_in_life(tmp_path: Path) -> None:
    world = LogWorld(tmp_path / "logs")
    await world.store.inner.start()
    await world.server.start("127.0.0.1", 0, sweep_every_s=0.01)
    try:
        client = await world.connect()
        await until(lambda: len(world.server._open) == 1)
        world.clock.pass_by(20)
        async with asyncio.timeout(PATIENCE_S):
            assert (await client.answer()).status == 0
    finally:
        await world.server.close()


def list_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
