"""Upload tickets on a real database: good for one log of an open request, and no news of one is ever lost."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bfactors.disclosed import Disclosed
from bfactors.errors import Unavailable
from bfactors.evidence import Evidence, LogUploaded
from bfactors.ledger_row import LogRow, SecurityEventRow
from bfactors.log_upload import UploadReceived, credential_hash, ticket_hash
from bfactors.secret import SecretName
from deploy.role.clock import SystemClock
from deploy.role.custody import SealingKeyFile
from deploy.role.log_desk import LogDesk, Uploads
from gateways.logs.directory_store import DirectoryLogStore
from persistence.ledger_store import PostgresLedgerStore
from persistence.reader import LedgerReader
from persistence.role import READER, WRITER
from persistence.secret import PostgresSecretStore
from persistence.upload_ticket import PostgresUploadTickets
from tests.conftest import FreshDatabase
from tests.fakes import ledger_row

pytest_plugins = ("tests.fakes.ledger_database",)

TICKET = "ab" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(minutes=5)


def log_row(state: str = "requested", **fields: Any) -> LogRow:
    values: dict[str, Any] = {
        "log_id": "log-1",
        "charger_id": "CP.1",
        "request_id": 1001,
        "log": "security",
        "secret_id": "secret-1",
        "ticket_hash": TICKET,
        "credential_hash": "cd" * 32,
        "max_bytes": 1000,
        "requested_at": NOW,
        "expires_at": NOW + timedelta(days=1),
        "doc": b'{"state":"%s"}' % state.encode(),
        **fields,
    }
    return LogRow(state=state, **values)


def received(name: str = "stored-1") -> UploadReceived:
    return UploadReceived(
        ticket_hash=TICKET,
        charger_id="CP.1",
        request_id=1001,
        log_type="security",
        sha256="ef" * 32,
        size_bytes=5,
        stored_name=name,
        received_at=NOW,
        remote_address="192.0.2.1",
        content_type="text/plain",
        file_name="secc.log",
    )


class Ledger:
    """The ledger's side: rows written as its commits write them."""

    def __init__(self, store: PostgresLedgerStore) -> None:
        self._store = store

    async def writes(self, *rows: LogRow, security_events: tuple[SecurityEventRow, ...] = ()) -> None:
        lease = await self._store.claim(3, "test", LEASE)
        assert lease is not None
        batch = ledger_row.batch(lease, logs=list(rows), security_events=list(security_events))
        await self._store.commit(lease, batch, LEASE)


class Log:
    """An evidence log that may be away."""

    def __init__(self) -> None:
        self.stored: list[Evidence] = []
        self.away = False

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        if self.away:
            raise Unavailable("NATS")
        self.stored.append(evidence)


@pytest.fixture
async def ledger(postgres_ledger_store: PostgresLedgerStore) -> Ledger:
    ledger = Ledger(postgres_ledger_store)
    await ledger.writes(log_row())
    return ledger


@pytest.fixture
async def rows(emptied_ledger_database: FreshDatabase) -> AsyncIterator[PostgresUploadTickets]:
    reached = await PostgresUploadTickets.reach(emptied_ledger_database.dsn(WRITER))
    yield reached
    await reached.close()


@pytest.fixture
async def secrets(
    emptied_ledger_database: FreshDatabase, tmp_path: Path
) -> AsyncIterator[PostgresSecretStore]:
    SealingKeyFile.make(tmp_path / "key")
    custody = SealingKeyFile.load(tmp_path / "key")
    reached = await PostgresSecretStore.reach(emptied_ledger_database.dsn(WRITER), custody)
    yield reached
    await reached.close()


async def test_a_ticket_is_good_while_its_request_is_open(
    ledger: Ledger, rows: PostgresUploadTickets
) -> None:
    ticket = await rows.claim(TICKET)
    assert ticket is not None
    assert (ticket.charger_id, ticket.request_id, ticket.log_type) == ("CP.1", 1001, "security")
    assert (ticket.max_bytes, ticket.credential_hash) == (1000, "cd" * 32)
    assert await rows.claim("00" * 32) is None
    await ledger.writes(log_row("failed"))
    assert await rows.claim(TICKET) is None


async def test_a_ticket_is_used_up_by_the_first_upload(ledger: Ledger, rows: PostgresUploadTickets) -> None:
    assert await rows.use_up(received())
    assert await rows.use_up(received())
    assert not await rows.use_up(received("stored-2"))
    assert await rows.claim(TICKET) is None


async def test_what_the_ledger_writes_leaves_the_receivers_fact_alone(
    ledger: Ledger, rows: PostgresUploadTickets
) -> None:
    await rows.use_up(received())
    await ledger.writes(log_row("stored"))
    assert await rows.unannounced() == [received()]


async def test_news_that_did_not_get_through_are_told_later_under_the_same_id(
    ledger: Ledger, rows: PostgresUploadTickets
) -> None:
    log = Log()
    uploads = Uploads(rows, log, SystemClock())
    log.away = True
    with pytest.raises(Unavailable):
        await uploads.finished(received())
    log.away = False
    assert await uploads.catch_up() == 1
    assert await uploads.catch_up() == 0
    assert await uploads.finished(received())
    assert [evidence.charger_id for evidence in log.stored] == ["CP.1", "CP.1"]
    assert len({evidence.evidence_id for evidence in log.stored}) == 1
    body = log.stored[0].body
    assert isinstance(body, LogUploaded)
    assert (body.request_id, body.stored_name, body.sha256) == (1001, "stored-1", "ef" * 32)
    assert not await uploads.finished(received("stored-2"))
    assert len(log.stored) == 2


async def test_an_address_is_made_once_and_its_hashes_are_those_of_what_is_sealed(
    secrets: PostgresSecretStore, tmp_path: Path
) -> None:
    desk = LogDesk(
        DirectoryLogStore(tmp_path / "logs"),
        secrets,
        SystemClock(),
        lambda: "https://csms.example:9444/logs",
        ticket_life=timedelta(hours=1),
        max_bytes=7,
    )
    made = await desk.ticket("secret-1", "CP.1")
    again = await desk.ticket("secret-1", "CP.1")
    assert (again.ticket_hash, again.credential_hash) == (made.ticket_hash, made.credential_hash)
    assert (await desk.ticket("secret-2", "CP.1")).ticket_hash != made.ticket_hash
    opened = await secrets.open("secret-1")
    assert opened is not None
    url = opened.disclosed.value.decode()
    head, _, place = url.partition("@")
    user, _, password = head.removeprefix("https://").partition(":")
    assert place.startswith("csms.example:9444/logs/upload/")
    assert ticket_hash(place.rpartition("/")[2]) == made.ticket_hash
    assert credential_hash(user, password) == made.credential_hash
    assert len(url) <= 512


async def test_the_sealed_address_goes_when_its_request_has_ended(
    ledger: Ledger, rows: PostgresUploadTickets, secrets: PostgresSecretStore
) -> None:
    name = SecretName(secret_id="secret-1", purpose="log-upload", charger_id="CP.1")
    later = datetime.now(UTC) + timedelta(hours=1)
    await secrets.put(name, Disclosed(b"https://x"), later)
    assert await rows.forget_secrets() == 0
    await ledger.writes(log_row("failed"))
    assert await rows.forget_secrets() == 1
    assert await secrets.open("secret-1") is None


async def test_logs_are_listed_newest_first_and_a_floods_entry_grows(
    ledger: Ledger, emptied_ledger_database: FreshDatabase
) -> None:
    later = log_row(
        log_id="log-2",
        ticket_hash="12" * 32,
        requested_at=NOW + timedelta(hours=1),
        doc=b'{"log_id":"log-2"}',
    )
    await ledger.writes(later)
    for count in (1, 5):
        event = SecurityEventRow(
            evidence_id="flood",
            charger_id="CP.1",
            kind="X",
            observed_at=NOW,
            doc=msgspec.json.encode({"count": count}),
        )
        await ledger.writes(security_events=(event,))
    reader = await LedgerReader.open(emptied_ledger_database.dsn(READER))
    try:
        page = await reader.logs(charger_id="CP.1", limit=1)
        assert isinstance(page, dict)
        assert [item.get("log_id") for item in page["items"]] == ["log-2"]
        rest = await reader.logs(limit=1, cursor=page["next_cursor"])
        assert isinstance(rest, dict)
        assert rest["items"] == [{"state": "requested"}]
        assert await reader.log("log-2") == {"log_id": "log-2"}
        assert await reader.log("none") is None
        shown = await reader.security_events(charger_id="CP.1")
        assert isinstance(shown, dict)
        assert shown["items"] == [{"count": 5}]
    finally:
        await reader.close()


async def test_the_writer_cannot_take_a_request_back(
    ledger: Ledger, emptied_ledger_database: FreshDatabase
) -> None:
    connection = await asyncpg.connect(emptied_ledger_database.dsn(WRITER))
    try:
        for statement in ("DELETE FROM charger_log", "UPDATE charger_log SET ticket_hash = ticket_hash"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
