"""The lock-out forecast as the projections hold it: by a charger's own credentials, or by the end of what it verifies us by."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from bfactors.ledger_row import ChargerRow
from bfactors.refusal import Refusal
from bfactors.trust_end import NO_BUNDLE, TrustEnd
from deploy.role.fleet_numbers import forecast
from gateways.metrics import PrometheusMetrics
from persistence.ledger_store import PostgresLedgerStore
from persistence.migration import known_migrations, migrate
from persistence.reader import LedgerReader
from persistence.role import OWNER, READER
from tests.conftest import FreshDatabase
from tests.contract.test_reader import items, put
from tests.fakes.ledger_row import DAWN, charger

pytest_plugins = ("tests.fakes.ledger_database",)

DAY = timedelta(days=1)


@pytest.fixture
async def reader(emptied_ledger_database: FreshDatabase) -> AsyncIterator[LedgerReader]:
    opened = await LedgerReader.open(emptied_ledger_database.dsn(READER), size=2)
    yield opened
    await opened.close()


def ending(name: str, days: float | None, bundle: str | None = "b1", **fields: Any) -> ChargerRow:
    """A charger whose certificate ends so many days after dawn; None: nothing of its own ends."""
    own = (
        {} if days is None else {"lockout_cause": "certificate-expiry", "lockout_certificate_id": f"c-{name}"}
    )
    at = None if days is None else DAWN + days * DAY
    fields.setdefault("doc", b'{"last_seen_at":null}')
    return charger(name, locked_out_at=at, trust_bundle=bundle, **own, **fields)


def ends(bundle_id: str, days: float) -> TrustEnd:
    return TrustEnd(bundle_id=bundle_id, at=DAWN + days * DAY, cause="anchor-expiry")


FLEET = [
    ending("a", 5, family="F2"),
    ending("b", 40, connected=True),
    ending("c", None),
    ending("d", None, bundle=None),
    ending("e", 1, decommissioned=True),
    ending("f", -3, bundle="b2", site="S2"),
    ending("g", 40, bundle=NO_BUNDLE, cohort="C2"),
]


async def named(reader: LedgerReader, *trust: TrustEnd, **filters: Any) -> str:
    return "".join(item["charger_id"] for item in items(await reader.lockouts(trust, **filters)))


async def test_who_is_locked_out_comes_soonest_first_and_who_never_is_not_at_all(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=FLEET)
    assert await named(reader) == "fabg"
    [first] = items(await reader.lockouts((), charger_id="a"))
    assert first.pop("locked_out_at") is not None
    assert first == {
        "charger_id": "a",
        "cause": "certificate-expiry",
        "certificate_id": "c-a",
        "family": "F2",
        "site": "depot-north",
        "cohort": "canary",
        "connected": False,
        "last_seen_at": None,
    }


async def test_the_end_of_a_bundle_locks_out_who_confirmed_it_unless_their_own_comes_first(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=FLEET)
    found = items(await reader.lockouts([ends("b1", 20), ends("b3", 1)]))
    assert [(item["charger_id"], item["cause"]) for item in found] == [
        ("f", "certificate-expiry"),
        ("a", "certificate-expiry"),
        ("b", "anchor-expiry"),
        ("c", "anchor-expiry"),
        ("g", "certificate-expiry"),
    ]
    assert datetime.fromisoformat(found[2]["locked_out_at"]) == DAWN + 20 * DAY
    assert found[2]["certificate_id"] is None
    assert await named(reader, ends(NO_BUNDLE, 2)) == "fgab"
    assert await named(reader, ends("b1", 40)) == "fabcg", "at the same moment a charger's own cause is named"


async def test_the_forecast_is_filtered_by_every_field(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=FLEET)
    trust = ends("b1", 20)
    assert await named(reader, trust, before=DAWN + 20 * DAY) == "fa"
    assert await named(reader, trust, before=DAWN + 21 * DAY) == "fabc"
    assert await named(reader, trust, cause="anchor-expiry") == "bc"
    assert await named(reader, trust, cause="certificate-expiry") == "fag"
    assert await named(reader, trust, family="F2") == "a"
    assert await named(reader, trust, site="S2") == "f"
    assert await named(reader, trust, cohort="C2") == "g"
    assert await named(reader, trust, connected=True) == "b"


async def test_pages_go_through_both_kinds_once(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=[ending(f"x{n}", n % 4 if n % 2 else None) for n in range(14)])
    trust, seen, cursor = [ends("b1", 2)], [], None
    while True:
        page = await reader.lockouts(trust, limit=3, cursor=cursor)
        assert not isinstance(page, Refusal)
        seen += [(item["locked_out_at"], item["charger_id"]) for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 14
    assert seen == sorted(seen)


async def test_counts_are_by_week_and_cause_and_add_up_to_the_fleet(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=FLEET)
    rows = await reader.lockout_counts([ends("b1", 20)], DAWN)
    assert sum(row["count"] for row in rows) == 6
    found = {(row["week"] and row["week"].date().isoformat(), row["cause"]): row["count"] for row in rows}
    assert found == {
        (None, None): 1,
        (None, "certificate-expiry"): 1,
        ("2026-03-02", "certificate-expiry"): 1,
        ("2026-03-16", "anchor-expiry"): 2,
        ("2026-04-06", "certificate-expiry"): 1,
    }
    [only] = await reader.lockout_counts([], DAWN, cohort="C2")
    assert only["count"] == 1


async def test_the_numbers_for_prometheus_grow_with_the_moment(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=FLEET)
    rows = await reader.lockouts_within([ends("b1", 20)], [DAWN, DAWN + 7 * DAY, DAWN + 90 * DAY])
    found = {(row["family"], row["cause"], row["number"]): row["count"] for row in rows}
    assert found == {
        ("Vendor/Model", "certificate-expiry", 0): 1,
        ("Vendor/Model", "certificate-expiry", 1): 1,
        ("Vendor/Model", "certificate-expiry", 2): 2,
        ("F2", "certificate-expiry", 1): 1,
        ("F2", "certificate-expiry", 2): 1,
        ("Vendor/Model", "anchor-expiry", 2): 2,
    }


async def test_rows_from_before_the_forecast_are_given_the_end_of_their_newest_certificate(
    empty_database: FreshDatabase,
) -> None:
    known = known_migrations()
    at = next(place for place, each in enumerate(known) if each.name == "lockout")
    await migrate(empty_database.dsn(OWNER), known[:at])
    connection = await asyncpg.connect(empty_database.dsn(OWNER))
    try:
        insert = (
            "INSERT INTO charger (charger_id, partition, managed_identity_id, serial_number, family, site, cohort, connected,"
            " security_profile, decommissioned, doc) VALUES ($1, 1, $1, $1, 'f', 's', 'c', false, $2, false, $3)"
        )
        held = b'{"trust_anchors":[{"purpose":"backend_server","bundle_id":"b1"}]}'
        await connection.execute(insert, "three", 3, held)
        await connection.execute(insert, "two", 2, b'{"trust_anchors":[]}')
        await connection.execute(insert, "one", 1, b'{"trust_anchors":[]}')
        for name, state, days in (("old", "active", 10), ("new", "installed", 90), ("gone", "revoked", 99)):
            await connection.execute(
                "INSERT INTO certificate (certificate_id, partition, charger_id, managed_identity_id, purpose, realm, variant,"
                " mode, state, authority, fingerprint_sha256, serial_number, not_before, not_after, doc)"
                " VALUES ($1, 1, 'three', 'three', 'charging_station', 'r', 'default', 'managed', $2, 'a', $1, $1, $3, $4, '')",
                name,
                state,
                DAWN,
                DAWN + days * DAY,
            )
        await migrate(empty_database.dsn(OWNER), known[: at + 1])
        rows = await connection.fetch(
            "SELECT charger_id, locked_out_at, lockout_certificate_id, trust_bundle FROM charger ORDER BY 1"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in rows] == [
        ("one", None, None, None),
        ("three", DAWN + 90 * DAY, "new", "b1"),
        ("two", None, None, NO_BUNDLE),
    ]


async def test_the_gauge_names_family_cause_and_span_and_forgets_what_was_prevented(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    metrics = PrometheusMetrics(strict=True)
    database: Any = SimpleNamespace(reader=reader)
    await put(postgres_ledger_store, chargers=[ending("a", 5, family="F2")])
    await forecast(database, metrics, DAWN, [])
    line = b'bf_lockout_chargers{cause="certificate-expiry",family="F2",within="%s"} 1.0'
    page = metrics.exposition()[0]
    assert [span for span in (b"now", b"7d", b"30d", b"90d") if line % span in page] == [
        b"7d",
        b"30d",
        b"90d",
    ]
    await put(postgres_ledger_store, chargers=[ending("a", 60, family="F2")])
    await forecast(database, metrics, DAWN, [])
    page = metrics.exposition()[0]
    assert [span for span in (b"now", b"7d", b"30d", b"90d") if line % span in page] == [b"90d"]
