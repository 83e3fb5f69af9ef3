"""What the nodes share about a CA, on a real PostgreSQL: reports; and the certificates they compare with."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from bfactors.audit_report import ReportRef
from bfactors.ledger_row import CertificateRow, KeyOwnerRow
from persistence.ca_desk import PostgresCaDesk
from persistence.certificate_index import PostgresCertificateIndex
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.fakes.ledger_row import DAWN, batch, certificate, charger

pytest_plugins = ("tests.fakes.ledger_database",)

ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/1"


@pytest.fixture
async def desk(emptied_ledger_database: FreshDatabase) -> AsyncIterator[PostgresCaDesk]:
    opened = await PostgresCaDesk.reach(emptied_ledger_database.dsn(WRITER), size=4)
    yield opened
    await opened.close()


def report(number: int) -> ReportRef:
    return ReportRef(
        authority_arn=ARN,
        report_id=f"r{number}",
        bucket="b",
        key=f"k{number}",
        created_at=DAWN + timedelta(minutes=number),
    )


async def test_the_newest_report_is_kept_whoever_comes_last(desk: PostgresCaDesk) -> None:
    assert await desk.latest(ARN) is None
    for number in (2, 3, 1):
        await desk.put(report(number))
    assert await desk.latest(ARN) == report(3)
    assert await desk.latest("another") is None


async def test_the_newest_certificate_in_use_of_each_ca_tells_its_lists(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore
) -> None:
    lease = await postgres_ledger_store.claim(3, "a", timedelta(minutes=5))
    assert lease is not None

    def of(name: str, arn: str, days: int, state: str = "active", **fields: str) -> CertificateRow:
        doc = b'{"pem":"%s","chain_pem":"+CHAIN"}' % name.encode()
        ends = DAWN + timedelta(days=days)
        return certificate(name, issuing_ca_id=arn, not_after=ends, state=state, doc=doc, **fields)

    rows = [
        of("a1", "arn:a", 10),
        of("a2", "arn:a", 20, "installed"),
        of("a3", "arn:a", 30, "superseded"),
        of("a4", "arn:a", 40, "revoked"),
        of("a5", "arn:a", 50, mode="tracked-only"),
        of("b1", "arn:b", 5, "superseded"),
        of("c1", "arn:c", 5, "issued"),
        of("d1", "arn:d", 5, purpose="contract"),
        of("x1", "", 90),
    ]
    written = batch(lease, 0, certificates=rows, chargers=[charger("CP-1")])
    await postgres_ledger_store.commit(lease, written, timedelta(minutes=5))
    index = await PostgresCertificateIndex.reach(emptied_ledger_database.dsn(READER))
    try:
        found = await index.newest_issued("charging_station")
        assert found == [("arn:a", "a2+CHAIN"), ("arn:c", "c1+CHAIN")], "nothing of b's is in use"
        assert await index.newest_issued("contract") == [("arn:d", "d1+CHAIN")]
        assert await index.newest_issued("vehicle_vas") == []
    finally:
        await index.close()


async def test_certificates_are_found_by_serial_purpose_and_key(
    emptied_ledger_database: FreshDatabase, postgres_ledger_store: PostgresLedgerStore
) -> None:
    lease = await postgres_ledger_store.claim(3, "a", timedelta(minutes=5))
    assert lease is not None
    rows = [certificate(f"c{number}", serial_number=f"a{number}") for number in range(3)]
    written = batch(lease, 0, certificates=rows, chargers=[charger("CP-1", managed_identity_id="unit-1")])
    written.key_owners = [KeyOwnerRow("ab" * 32, "unit-1")]
    await postgres_ledger_store.commit(lease, written, timedelta(minutes=5))
    index = await PostgresCertificateIndex.reach(emptied_ledger_database.dsn(READER))
    try:
        found = await index.by_serial(["a1", "zz"])
        assert {serial: each.certificate_id for serial, each in found.items()} == {"a1": "c1"}
        seen: list[str] = []
        after = None
        while page := await index.of_purpose(rows[0].purpose, after, 2):
            seen += [each.certificate_id for each in page]
            after = (page[-1].not_after, page[-1].certificate_id)
        assert seen == ["c0", "c1", "c2"]
        assert await index.of_purpose("contract", None, 2) == []
        newest = await index.newest_issued(rows[0].purpose)
        assert newest == [], "whose CA is not known"
        assert await index.charger_of_key("ab" * 32) == "CP-1"
        assert await index.charger_of_key("cd" * 32) is None
    finally:
        await index.close()
