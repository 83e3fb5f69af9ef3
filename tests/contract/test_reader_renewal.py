"""Due renewals as the projections hold them: which, since when, with the job that is to bring the next certificate."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest

from bfactors.ledger_row import CertificateRow, JobRow
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import known_migrations, migrate
from persistence.reader import LedgerReader
from persistence.role import OWNER, READER
from tests.conftest import FreshDatabase
from tests.contract.test_reader import items, put
from tests.fakes.ledger_row import DAWN, certificate, charger, job

pytest_plugins = ("tests.fakes.ledger_database",)

DAY = timedelta(days=1)


@pytest.fixture
async def reader(emptied_ledger_database: FreshDatabase) -> AsyncIterator[LedgerReader]:
    opened = await LedgerReader.open(emptied_ledger_database.dsn(READER), size=2)
    yield opened
    await opened.close()


def ending(owner: str, days: float, **fields: Any) -> CertificateRow:
    values = {"state": "active", "due_since": DAWN, **fields}
    return certificate(f"c-{owner}", charger_id=owner, not_after=DAWN + days * DAY, **values)


def renewing(owner: str, **fields: Any) -> JobRow:
    return job(f"j-{owner}", **{"charger_id": owner, "action": "renew", **fields})


def at(name: str, **fields: Any) -> Any:
    return charger(name, doc=b'{"last_seen_at":null,"paused_reason":null}', **fields)


async def fill(store: PostgresLedgerStore) -> None:
    await put(
        store,
        chargers=[
            at("a", connected=True),
            at("b", family="F2", site="S2"),
            at("c", cohort="C2"),
            at("d"),
            at("e", connected=True),
        ],
        certificates=[
            ending("a", 20),
            ending("b", 5, escalated_days=7),
            ending("c", 10, escalated_days=14),
            ending("d", 100, due_since=None),
            ending("e", 1, purpose="secc_iso15118_2"),
        ],
        jobs=[
            renewing("a", overdue=True),
            renewing("b", overdue=True, state="failed"),
            renewing("c", purpose="secc_iso15118_2", overdue=True),
            renewing("d"),
        ],
    )


async def named(reader: LedgerReader, **filters: Any) -> str:
    return "".join(item["charger_id"] for item in items(await reader.renewals(**filters)))


async def test_what_is_due_comes_soonest_end_first_with_its_open_job(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await fill(postgres_ledger_store)
    assert await named(reader) == "ebca"
    rows = {item["charger_id"]: item for item in items(await reader.renewals())}
    assert (rows["a"]["job"], rows["a"]["overdue"]) == ({"job_id": "j-a"}, True)
    assert (rows["b"]["job"], rows["b"]["overdue"]) == (None, False), "a job that has ended brings nothing"
    assert rows["c"]["job"] is None, "another purpose's job brings nothing here"
    assert datetime.fromisoformat(rows["a"]["due_since"]) == DAWN


async def test_due_renewals_are_filtered_and_paged(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await fill(postgres_ledger_store)
    assert await named(reader, state="due") == "ebca"
    assert await named(reader, state="overdue") == "a"
    assert await named(reader, state="escalated") == "bc"
    assert await named(reader, offline=True) == "bc"
    assert await named(reader, offline=False) == "ea"
    assert await named(reader, purpose="charging_station") == "bca"
    assert await named(reader, family="F2") == "b"
    assert await named(reader, site="S2") == "b"
    assert await named(reader, cohort="C2") == "c"
    assert await named(reader, ends_before=DAWN + 6 * DAY) == "eb"
    page = await reader.renewals(limit=3)
    assert isinstance(page, dict)
    assert await named(reader, cursor=page["next_cursor"]) == "a"


async def test_due_renewals_are_counted_by_purpose_and_cohort(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await fill(postgres_ledger_store)
    found = {
        (row["purpose"], row["cohort"]): tuple(row.values())[2:] for row in await reader.renewal_counts()
    }
    assert found == {
        ("charging_station", "canary"): (2, 1, 1, 1, 1),
        ("charging_station", "C2"): (1, 0, 1, 1, 1),
        ("secc_iso15118_2", "canary"): (1, 0, 0, 0, 0),
    }


async def test_a_certificate_that_was_replaced_is_due_no_more(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=[at("a")], certificates=[ending("a", 5, escalated_days=7)])
    assert await named(reader) == "a"
    await put(postgres_ledger_store, certificates=[ending("a", 5, state="superseded", due_since=None)])
    assert await named(reader) == ""


async def test_rows_from_before_due_work_was_kept_are_due_from_now_on(empty_database: FreshDatabase) -> None:
    known = known_migrations()
    before = next(place for place, each in enumerate(known) if each.name == "due_work")
    await migrate(empty_database.dsn(OWNER), known[:before])
    connection = await asyncpg.connect(empty_database.dsn(OWNER))
    state = {
        name: {"certificate_id": name, "renewal_due": due, "escalated_days": days}
        for name, due, days in (("due", True, 14), ("tracked", False, 7), ("young", False, None))
    }
    try:
        await connection.execute(
            "INSERT INTO aggregate (partition, key, version, state) VALUES (1, 'charger:x', 1, $1), (0, 'fleet', 1, '{}')",
            json.dumps({"certificates": state}).encode(),
        )
        for name in state:
            await connection.execute(
                "INSERT INTO certificate (certificate_id, partition, charger_id, managed_identity_id, purpose, realm, variant,"
                " mode, state, authority, fingerprint_sha256, serial_number, not_before, not_after, doc)"
                " VALUES ($1, 1, 'x', 'x', 'charging_station', 'r', 'default', 'managed', 'active', 'a', $1, $1, $2, $2, '')",
                name,
                DAWN,
            )
        await migrate(empty_database.dsn(OWNER), known[: before + 1])
        rows = await connection.fetch(
            "SELECT certificate_id, escalated_days FROM certificate WHERE due_since IS NOT NULL"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [("due", 14)]
