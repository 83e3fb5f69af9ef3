"""What an incident would choose, as SQL says it and as the core's own rule says it; and how far it has come."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bfactors.incident import Selector, selects
from bfactors.ledger_row import CertificateRow, ChargerRow
from persistence.ledger_store import PostgresLedgerStore
from persistence.reader import LedgerReader
from persistence.role import READER
from tests.conftest import FreshDatabase
from tests.contract.test_reader import items, put
from tests.fakes.incident import incident_of, subject_of
from tests.fakes.ledger_row import DAWN, certificate, charger

pytest_plugins = ("tests.fakes.ledger_database",)

NOW = DAWN + timedelta(days=100)
STATES = ("issued", "installed", "active", "superseded", "revoked", "expired", "deleted")


@pytest.fixture
async def reader(emptied_ledger_database: FreshDatabase) -> AsyncIterator[LedgerReader]:
    opened = await LedgerReader.open(emptied_ledger_database.dsn(READER), size=2)
    yield opened
    await opened.close()


def fleet(chance: random.Random) -> tuple[list[ChargerRow], list[CertificateRow]]:
    chargers = [
        charger(
            f"c{number}",
            family=chance.choice(("f1", "f2")),
            site=chance.choice(("s1", "s2")),
            cohort=chance.choice(("w1", "w2")),
            connected=chance.random() < 0.5,
            security_profile=chance.choice((2, 3)),
        )
        for number in range(12)
    ]
    certificates = [
        certificate(
            f"x{number}",
            charger_id=f"c{number % 12}",
            state=chance.choice(STATES),
            issuing_ca_id=chance.choice(("ca1", "ca2")),
            spki_sha256=chance.choice(("k1", "k2", "k3")),
            issued_at=DAWN + timedelta(days=chance.randrange(90)),
            not_after=NOW + timedelta(days=chance.choice((-1, 30))),
        )
        for number in range(40)
    ]
    return chargers, certificates


def some(chance: random.Random, *values: str) -> tuple[str, ...]:
    return tuple(chance.sample(values, chance.randrange(len(values)))) if chance.random() < 0.4 else ()


def selector(chance: random.Random) -> Selector:
    begins = DAWN + timedelta(days=chance.randrange(90))
    return Selector(
        purpose="charging_station",
        issuing_ca_ids=some(chance, "ca1", "ca2"),
        spki_sha256=some(chance, "k1", "k2", "k3"),
        certificate_ids=some(chance, *(f"x{number}" for number in range(40))),
        families=some(chance, "f1", "f2"),
        sites=some(chance, "s1", "s2"),
        cohorts=some(chance, "w1", "w2"),
        issued_from=begins if chance.random() < 0.3 else None,
        issued_before=begins + timedelta(days=20) if chance.random() < 0.3 else None,
    )


async def test_sql_chooses_what_the_rule_chooses(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    chance = random.Random(7)
    chargers, certificates = fleet(chance)
    await put(postgres_ledger_store, chargers=chargers, certificates=certificates)
    owners = {row.charger_id: row for row in chargers}
    sizes = set()
    for _ in range(60):
        wanted = selector(chance)
        chosen = [
            row
            for row in certificates
            if selects(incident_of(wanted, NOW), subject_of(row, owners[row.charger_id or ""]), NOW)
        ]
        expected = Counter(
            (owners[row.charger_id or ""].family, owners[row.charger_id or ""].cohort, row.state)
            for row in chosen
        )
        found = await reader.incident_forecast(wanted, NOW)
        assert {
            (row["family"], row["cohort"], row["state"]): row["certificates"] for row in found
        } == expected
        assert sum(row["locked_out"] for row in found) == shut_out(certificates, chosen, owners)
        await check_what_an_approver_sees(reader, wanted, chosen, owners)
        sizes.add(len(chosen))
    assert len(sizes) > 8, "the selectors choose too much alike to show anything"


async def check_what_an_approver_sees(
    reader: LedgerReader, wanted: Selector, chosen: list[CertificateRow], owners: dict[str, ChargerRow]
) -> None:
    """An incident that waits is counted by family and by CA, and listed, by the same rule."""
    counts = await reader.incident_selection_counts(wanted, NOW)
    assert {(row["family"], row["issuing_ca_id"]): row["certificates"] for row in counts} == Counter(
        (owners[row.charger_id or ""].family, row.issuing_ca_id) for row in chosen
    )
    assert sum(row["connected"] for row in counts) == sum(
        owners[row.charger_id or ""].connected for row in chosen
    )
    listed: list[Any] = []
    cursor = None
    while True:
        page = await reader.incident_selection(wanted, NOW, limit=7, cursor=cursor)
        assert isinstance(page, dict)
        listed += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [one["certificate_id"] for one in listed] == sorted(row.certificate_id for row in chosen)
    assert {(one["state"], one["came_later"]) for one in listed} <= {("selected", False)}
    within = items(await reader.incident_selection(wanted, NOW, cohorts=["w1"], limit=100))
    assert within == [one for one in listed if one["cohort"] == "w1"]


def shut_out(
    certificates: list[CertificateRow], chosen: list[CertificateRow], owners: dict[str, ChargerRow]
) -> int:
    """Chosen ones in use, of chargers on profile 3 that have none in use beside the chosen."""
    ids = {row.certificate_id for row in chosen}
    in_use = [row for row in certificates if row.state in ("installed", "active")]
    return sum(
        row in in_use
        and owners[row.charger_id or ""].security_profile >= 3
        and not any(
            other.charger_id == row.charger_id and other.certificate_id not in ids for other in in_use
        )
        for row in chosen
    )


async def test_targets_are_counted_and_listed_by_how_far_they_have_come(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows: list[Any] = [
        certificate(f"x{number}", incident_id="i1", incident_state=state, state="active")
        for number, state in enumerate(("denied", "revoking", "revoking", "revoked"))
    ]
    rows[2] = certificate("x2", incident_id="i1", incident_state="revoking", state="active", came_later=True)
    rows.append(certificate("y", incident_id="i2", incident_state="waiting"))
    rows.append(certificate("z"))
    before = [certificate(f"x{number}") for number in range(4)]
    await put(postgres_ledger_store, chargers=[charger()], certificates=before)
    await put(postgres_ledger_store, certificates=rows)
    counts = await reader.incident_counts(["i1", "none"])
    assert {(row["incident_id"], row["state"]): row["count"] for row in counts} == {
        ("i1", "denied"): 1,
        ("i1", "revoking"): 2,
        ("i1", "revoked"): 1,
    }
    assert {row["state"]: row["came_later"] for row in counts} == {"denied": 0, "revoking": 1, "revoked": 0}
    first = await reader.incident_targets(incident_id="i1", limit=3)
    assert [one["certificate_id"] for one in items(first)] == ["x0", "x1", "x2"]
    assert isinstance(first, dict)
    rest = await reader.incident_targets(incident_id="i1", limit=3, cursor=first["next_cursor"])
    assert [one["certificate_id"] for one in items(rest)] == ["x3"]
    revoking = items(await reader.incident_targets(incident_id="i1", state="revoking"))
    names = ("certificate_id", "family", "connected", "came_later")
    assert [tuple(one[name] for name in names) for one in revoking] == [
        ("x1", "Vendor/Model", False, False),
        ("x2", "Vendor/Model", False, True),
    ]
    cohort = charger().cohort
    assert len(items(await reader.incident_targets(incident_id="i1", cohorts=[cohort]))) == 4
    assert items(await reader.incident_targets(incident_id="i1", cohorts=["elsewhere"])) == []
