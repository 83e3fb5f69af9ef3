"""Lists, items and numbers as the admin API needs them, read under the reader role."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import asyncpg
import pytest

from bfactors.errors import Unavailable
from bfactors.ledger_row import (
    ApprovalRow,
    AuthorizationKeyRow,
    Batch,
    HolderRow,
    IdentityRow,
    LogRow,
    MigrationRow,
    QuarantineRow,
    SecurityEventRow,
)
from bfactors.refusal import Refusal
from persistence.ledger_store import PostgresLedgerStore
from persistence.reader import Body, LedgerReader
from persistence.role import READER
from tests.conftest import FreshDatabase
from tests.fakes.ledger_row import DAWN, aggregate, batch, certificate, chain, charger, job

pytest_plugins = ("tests.fakes.ledger_database",)

LONG = timedelta(minutes=5)


@pytest.fixture
async def reader(emptied_ledger_database: FreshDatabase) -> AsyncIterator[LedgerReader]:
    opened = await LedgerReader.open(emptied_ledger_database.dsn(READER), size=2)
    yield opened
    await opened.close()


async def put(store: PostgresLedgerStore, partition: int = 3, **rows: Any) -> Batch:
    """One commit with these rows, and without events unless given."""
    lease = await store.claim(partition, "a", LONG)
    assert lease is not None
    events = rows.pop("events", None)
    written = batch(lease, 0, **rows)
    if events is not None:
        written.events = events(lease)
    await store.commit(lease, written, LONG)
    return written


def items(answer: Body | Refusal) -> list[Any]:
    assert not isinstance(answer, Refusal), answer
    found: list[Any] = answer["items"]
    return found


async def charger_ids(reader: LedgerReader, **filters: Any) -> list[str]:
    return [item["charger_id"] for item in items(await reader.chargers(**filters))]


async def certificate_ids(reader: LedgerReader, **filters: Any) -> list[str]:
    return [item["certificate_id"] for item in items(await reader.certificates(**filters))]


async def job_ids(reader: LedgerReader, **filters: Any) -> list[str]:
    return [item["job_id"] for item in items(await reader.jobs(**filters))]


# ---------------------------------------------------------------- chargers


async def test_chargers_are_filtered_by_every_field_of_the_contract(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows = [
        charger("a", family="F1", site="S1", cohort="C1", connected=True),
        charger("b", family="F2", site="S1", cohort="C2", serial_number="XY%9"),
        charger("c", family="F2", site="S2", cohort="C1", connected=True, decommissioned=True),
    ]
    await put(postgres_ledger_store, chargers=rows)
    assert await charger_ids(reader) == ["a", "b"]
    assert await charger_ids(reader, decommissioned=True) == ["a", "b", "c"]
    assert await charger_ids(reader, family="F2") == ["b"]
    assert await charger_ids(reader, site="S1", cohort="C1") == ["a"]
    assert await charger_ids(reader, connected=True) == ["a"]
    assert await charger_ids(reader, connected=False) == ["b"]
    assert await charger_ids(reader, q="xy%") == ["b"]
    assert await charger_ids(reader, q="%") == ["b"]
    assert await charger_ids(reader, q="SN-A") == ["a"]
    assert await reader.charger("c") == {"charger_id": "c"}
    assert await reader.charger("d") is None


async def test_pages_of_chargers_are_complete_and_stable_while_chargers_are_added(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    names = [f"c{number:02d}" for number in range(0, 20, 2)]
    await put(postgres_ledger_store, chargers=[charger(name) for name in names])
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await reader.chargers(limit=3, cursor=cursor)
        assert not isinstance(page, Refusal)
        seen += [item["charger_id"] for item in page["items"]]
        await put(postgres_ledger_store, chargers=[charger(f"b{len(seen)}")])  # before what was shown
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == names
    assert len(await charger_ids(reader, limit=len(names) + 4)) == len(names) + 4


# ---------------------------------------------------------------- certificates


async def test_certificates_are_filtered_by_every_field_of_the_contract(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    days = [DAWN + timedelta(days=day) for day in range(4)]
    rows = [
        certificate("x", not_after=days[2], purpose="contract", realm="iso15118", mode="tracked-only"),
        certificate("y", not_after=days[1], state="active", charger_id=None, managed_identity_id="mi-y"),
        certificate("z", not_after=days[1], authority="hubject", serial_number="0abc", fingerprint_sha256=""),
        certificate("w", not_after=days[3], fingerprint_sha256=""),
    ]
    await put(postgres_ledger_store, certificates=rows)
    assert await certificate_ids(reader) == ["y", "z", "x", "w"]
    assert await certificate_ids(reader, charger_id="CH 1.*>") == ["z", "x", "w"]
    assert await certificate_ids(reader, managed_identity_id="mi-y") == ["y"]
    assert await certificate_ids(reader, purpose="contract") == ["x"]
    assert await certificate_ids(reader, state="active") == ["y"]
    assert await certificate_ids(reader, mode="tracked-only") == ["x"]
    assert await certificate_ids(reader, realm="iso15118", mode="managed") == []
    assert await certificate_ids(reader, expires_before=days[2]) == ["y", "z"]
    assert await certificate_ids(reader, fingerprint_sha256=rows[0].fingerprint_sha256.upper()) == ["x"]
    assert await certificate_ids(reader, serial_number="0ABC") == ["z"]
    first = await reader.certificates(limit=1)
    assert not isinstance(first, Refusal)
    assert await certificate_ids(reader, cursor=first["next_cursor"], limit=2) == ["z", "x"]


async def test_certificates_are_found_by_how_a_name_of_theirs_begins(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows = [
        certificate(
            "c1",
            charger_id="Depot-7",
            managed_identity_id="Unit_a",
            serial_number="0abc",
            fingerprint_sha256="ff" * 32,
        ),
        certificate("c2", charger_id="depot_7", managed_identity_id="unit%b", serial_number="1abc"),
        certificate("heard-of", charger_id=None, managed_identity_id="tracked", fingerprint_sha256=""),
    ]
    await put(postgres_ledger_store, certificates=rows)
    found = {
        q: await certificate_ids(reader, q=q)
        for q in (
            "dePot-",
            "depot_",
            "DEPOT",
            "unit_",
            "UNIT%",
            "0A",
            "FF",
            "heard",
            "track",
            "abc",
            "%",
            "_",
        )
    }
    assert found == {
        "dePot-": ["c1"],
        "depot_": ["c2"],
        "DEPOT": ["c1", "c2"],
        "unit_": ["c1"],
        "UNIT%": ["c2"],
        "0A": ["c1"],
        "FF": ["c1"],
        "heard": ["heard-of"],
        "track": ["heard-of"],
        "abc": [],
        "%": [],
        "_": [],
    }
    assert await certificate_ids(reader, q="depot", serial_number="1abc") == ["c2"]


async def test_only_a_single_certificate_shows_its_pem(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, certificates=[certificate("x")])
    assert items(await reader.certificates()) == [{"certificate_id": "x"}]
    assert await reader.certificate("x") == {
        "certificate_id": "x",
        "pem": "PEM",
        "chain_pem": "CHAIN",
        "evidence": [],
    }
    assert await reader.certificate("unknown") is None


# ---------------------------------------------------------------- jobs and audit


async def test_jobs_come_newest_first_and_are_filtered_by_every_field_of_the_contract(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows = [
        job("j1", created_at=DAWN),
        job("j2", created_at=DAWN, stage="issuing", overdue=True),
        job(
            "j3", created_at=DAWN + LONG, state="failed", stage="done", purpose="contract", charger_id="other"
        ),
    ]
    await put(postgres_ledger_store, jobs=rows)
    assert await job_ids(reader) == ["j3", "j2", "j1"]
    assert await job_ids(reader, state="open") == ["j2", "j1"]
    assert await job_ids(reader, stage="issuing") == ["j2"]
    assert await job_ids(reader, purpose="contract") == ["j3"]
    assert await job_ids(reader, charger_id="CH 1.*>", overdue=False) == ["j1"]
    assert await job_ids(reader, overdue=True) == ["j2"]
    first = await reader.jobs(limit=2)
    assert not isinstance(first, Refusal)
    assert await job_ids(reader, cursor=first["next_cursor"]) == ["j1"]


async def test_a_job_shows_its_timeline_from_the_ledger(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    payload = json.dumps({"jobId": "job-1", "evidenceRef": "e9"})
    await put(postgres_ledger_store, jobs=[job("job-1")], events=lambda lease: chain(lease, 1))
    await put(
        postgres_ledger_store,
        events=lambda lease: chain(lease, 1, event="CertificateInstalled", actor="charger", payload=payload),
    )
    body = await reader.job("job-1")
    assert body is not None
    assert body["timeline"] == [
        {
            "at": "2026-03-01T06:00:01.123456Z",
            "event": "CertificateRequested",
            "by": "operator:ada",
            "evidence_ref": "command-1",
            "detail": {"jobId": "job-1", "reason": "größer"},
        },
        {
            "at": "2026-03-01T06:00:02.123456Z",
            "event": "CertificateInstalled",
            "by": "charger",
            "evidence_ref": "e9",
            "detail": {"jobId": "job-1", "evidenceRef": "e9"},
        },
    ]
    assert await reader.job("unknown") is None


async def test_the_audit_trail_interleaves_partitions_by_time(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, 3, events=lambda lease: chain(lease, 3, charger_id="a"))
    written = await put(
        postgres_ledger_store,
        5,
        events=lambda lease: chain(
            lease, 3, charger_id="b", event="CSRValidated", managed_identity_id="mi-b"
        ),
    )

    async def positions(**filters: Any) -> list[str]:
        return [f"{row['partition']}:{row['sequence']}" for row in items(await reader.audit(**filters))]

    assert await positions() == ["3:1", "5:1", "3:2", "5:2", "3:3", "5:3"]
    assert await positions(charger_id="a") == ["3:1", "3:2", "3:3"]
    assert await positions(event="CSRValidated", managed_identity_id="mi-b") == ["5:1", "5:2", "5:3"]
    assert await positions(job_id="job-1", charger_id="c") == []
    assert await positions(after="3:2") == ["5:2", "3:3", "5:3"]
    assert await positions(after="2026-03-01T06:00:02.123456Z") == ["3:3", "5:3"]
    assert await positions(after="2026-03-01T07:00:02.123455+01:00") == ["3:2", "5:2", "3:3", "5:3"]
    page = await reader.audit(limit=4)
    assert not isinstance(page, Refusal)
    assert await positions(cursor=page["next_cursor"]) == ["3:3", "5:3"]
    item = items(await reader.audit(charger_id="b"))[2]
    row = written.events[2]
    assert (item["hash"], item["previous_hash"]) == (row.hash, row.previous_hash)
    assert (item["payload"], item["recorded_at"]) == (json.loads(row.payload), "2026-03-01T06:00:03.123456Z")
    assert (item["actor"], item["cause"], item["policy_version"]) == (
        row.actor,
        row.cause,
        row.policy_version,
    )


# ---------------------------------------------------------------- the rest


async def test_security_events_come_newest_first(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows = [
        SecurityEventRow(
            evidence_id=f"e{number}",
            charger_id="a" if number % 2 else None,
            kind="TamperDetection" if number else "HandshakeFailed",
            observed_at=DAWN,
            doc=b'{"n":%d}' % number,
        )
        for number in range(4)
    ]
    await put(postgres_ledger_store, security_events=rows)
    assert [item["n"] for item in items(await reader.security_events())] == [3, 2, 1, 0]
    assert [item["n"] for item in items(await reader.security_events(charger_id="a"))] == [3, 1]
    assert [item["n"] for item in items(await reader.security_events(kind="HandshakeFailed"))] == [0]


async def test_groups_of_chargers_are_counted_and_what_ends_in_their_spans(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    day = [DAWN + timedelta(days=n) for n in range(5)]
    await put(
        postgres_ledger_store,
        chargers=[
            charger("a", family="F1", cohort="C1"),
            charger("b", family="F1", cohort="C1"),
            charger("c", family="F1", cohort="C2"),
            charger("d", family="F1", cohort="C2", decommissioned=True),
        ],
        certificates=[
            certificate("after", charger_id="a", state="active", not_after=day[1]),
            certificate("within", charger_id="a", state="active", not_after=day[2], fingerprint_sha256="02"),
            certificate("until", charger_id="b", state="active", not_after=day[3], fingerprint_sha256="03"),
            certificate(
                "too late", charger_id="b", state="active", not_after=day[4], fingerprint_sha256="04"
            ),
            certificate("not active", charger_id="b", not_after=day[2], fingerprint_sha256="05"),
            certificate(
                "elsewhere", charger_id="c", state="active", not_after=day[2], fingerprint_sha256="06"
            ),
            certificate("retired", charger_id="d", state="active", not_after=day[2], fingerprint_sha256="07"),
        ],
    )
    assert await reader.charger_groups() == [
        {"family": "F1", "cohort": "C1", "count": 2},
        {"family": "F1", "cohort": "C2", "count": 1},
    ]
    spans = [("F1", "C1", day[1], day[3]), ("F1", "C3", day[0], day[4])]
    assert await reader.active_ending_in("charging_station", spans) == [
        {"family": "F1", "cohort": "C1", "count": 2}
    ]
    assert await reader.active_ending_in("charging_station", [("F1", "C2", day[1], day[3])]) == [
        {"family": "F1", "cohort": "C2", "count": 1}
    ]
    assert await reader.active_ending_in("contract", spans) == []
    assert await reader.active_ending_in("charging_station", []) == []


async def test_numbers_for_metrics_are_counted(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(
        postgres_ledger_store,
        jobs=[job("j1"), job("j2"), job("j3", overdue=True), job("j4", state="succeeded", stage="done")],
        certificates=[certificate("x"), certificate("y")],
        chargers=[charger("a"), charger("b", decommissioned=True)],
        aggregates=[aggregate("fleet", 4, b"state")],
        quarantine=[QuarantineRow(evidence_id="e", charger_id="a", error="E", body=b"")],
        events=lambda lease: chain(lease, 2),
    )
    jobs = {
        (row["stage"], row["purpose"], row["overdue"]): row["count"] for row in await reader.open_job_counts()
    }
    assert jobs == {("requested", "charging_station", False): 2, ("requested", "charging_station", True): 1}
    assert await reader.certificate_counts() == [
        {"purpose": "charging_station", "state": "issued", "mode": "managed", "count": 2}
    ]
    assert await reader.charger_counts() == [
        {"family": "Vendor/Model", "cohort": "canary", "connected": False, "count": 1}
    ]
    standing = (await reader.partitions())[3]
    assert (standing["owner"], standing["live"], standing["outbox_backlog"]) == ("a", True, 2)
    assert standing["quarantined"] == 1
    assert await reader.aggregate(3, "fleet") == aggregate("fleet", 4, b"state")
    assert await reader.aggregate(0, "fleet") is None


@pytest.mark.parametrize("limit", [0, -1, 501])
async def test_a_page_size_out_of_range_is_refused(reader: LedgerReader, limit: int) -> None:
    for listing in (reader.chargers, reader.certificates, reader.jobs, reader.audit, reader.security_events):
        refused = await listing(limit=limit)
        assert isinstance(refused, Refusal)
        assert (refused.code, refused.field) == ("limit-out-of-range", "limit")


async def test_a_cursor_of_another_list_or_of_no_list_is_refused(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=[charger("a"), charger("b")])
    page = await reader.chargers(limit=1)
    assert not isinstance(page, Refusal)
    for cursor in (page["next_cursor"], "", "x", "W10", "WyJqb2JzIl0", "größe", "\x00"):
        refused = await reader.jobs(cursor=cursor)
        assert isinstance(refused, Refusal), cursor
        assert refused.field == "cursor"


@pytest.mark.parametrize("text", ["nul\x00", "half \ud800"])
async def test_text_that_no_row_can_hold_is_refused_and_names_nothing(
    reader: LedgerReader, text: str
) -> None:
    assert isinstance(await reader.chargers(q=text), Refusal)
    assert isinstance(await reader.audit(event=text), Refusal)
    assert await reader.charger(text) is None
    assert await reader.job(text) is None


@pytest.mark.parametrize(
    "after", ["yesterday", "2026-03-01T06:00:00", "3:999", "99999:1", "0001-01-01T00:00:00+14:00"]
)
async def test_an_audit_start_that_means_nothing_is_refused(reader: LedgerReader, after: str) -> None:
    assert isinstance(await reader.audit(after=after), Refusal)
    with_time = await reader.certificates(expires_before=datetime.fromisoformat("0001-01-01T00:00:00+14:00"))
    assert isinstance(with_time, Refusal)


async def test_a_reader_does_not_wait_for_ever(emptied_ledger_database: FreshDatabase) -> None:
    opened = await LedgerReader.open(
        emptied_ledger_database.dsn(READER), size=1, statement_timeout=timedelta(seconds=1)
    )
    blocker = await asyncpg.connect(emptied_ledger_database.dsn())
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE charger IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(Unavailable):
                await opened.chargers()
        assert items(await opened.chargers()) == []
    finally:
        await blocker.close()
        await opened.close()


async def test_a_certificate_shows_the_events_that_are_its_evidence(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    doc = json.dumps({"certificate_id": "cert-7", "charger_id": "CH-7"}).encode()
    mine = certificate("cert-7", charger_id="CH-7", doc=doc)
    await put(
        postgres_ledger_store,
        certificates=[mine],
        events=lambda lease: chain(
            lease,
            1,
            event="CertificateInstalled",
            charger_id="CH-7",
            certificate_id="cert-7",
            payload=json.dumps({"evidenceRef": "e1"}),
        ),
    )
    await put(
        postgres_ledger_store,
        events=lambda lease: chain(lease, 1, charger_id="CH-7", certificate_id="another"),
    )
    body = await reader.certificate("cert-7")
    assert body is not None
    assert [(step["event"], step["evidence_ref"]) for step in body["evidence"]] == [
        ("CertificateInstalled", "e1")
    ]


async def test_the_nodes_believed_to_hold_sessions_are_named_once(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    doc = json.dumps({"session": {"node": "north"}}).encode()
    rows = [
        charger("a", serial_number="S1", connected=True, incarnation="i1", doc=doc),
        charger("b", serial_number="S2", connected=True, incarnation="i1", doc=doc),
        charger("c", serial_number="S3"),
    ]
    await put(postgres_ledger_store, chargers=rows)
    assert await reader.incarnations() == [("north", "i1")]


# ---------------------------------------------------------------- who holds an anchor


def confirmed(charger_id: str, *held: tuple[str, str, str], **fields: Any) -> Any:
    anchors = [
        {"purpose": purpose, "bundle_id": bundle_id, "rung": rung} for purpose, bundle_id, rung in held
    ]
    doc = json.dumps({"charger_id": charger_id, "trust_anchors": anchors}).encode()
    return charger(charger_id, doc=doc, **fields)


async def test_chargers_are_counted_by_how_surely_they_hold_one_of_the_bundles(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    rows = [
        confirmed("a", ("backend_server", "b1", "listed"), family="F1"),
        confirmed(
            "b", ("backend_server", "b2", "accepted"), ("charging_station", "b1", "listed"), family="F1"
        ),
        confirmed("c", ("backend_server", "b9", "listed"), family="F1"),
        confirmed("d", family="F1"),
        confirmed("e", ("charging_station", "b1", "listed"), family="F2"),
        confirmed("f", family="F1", decommissioned=True),
        confirmed("g", family="F1", security_profile=1),
    ]
    await put(postgres_ledger_store, chargers=rows)
    found = await reader.anchor_holders("backend_server", ["b1", "b2"], from_profile=2, examples=1)
    assert [(r["family"], r["rung"], r["count"], r["examples"]) for r in found] == [
        ("F1", None, 2, ["c"]),
        ("F1", "accepted", 1, ["b"]),
        ("F1", "listed", 1, ["a"]),
        ("F2", None, 1, ["e"]),
    ]
    nobody = await reader.anchor_holders("backend_server", [], from_profile=2)
    assert {r["rung"] for r in nobody} == {None}


async def test_those_a_policy_may_speak_of_alone_are_counted_alone(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    mute = json.dumps({"trust_anchors": [], "capabilities": {"cannot_list": True}}).encode()
    rows = [
        confirmed("a", family="F1"),
        confirmed("b", ("backend_server", "b1", "accepted"), family="F1"),
        confirmed("c", ("backend_server", "b1", "accepted"), family="F1"),
        charger("d", doc=mute, family="F1"),
    ]
    await put(postgres_ledger_store, chargers=rows)
    found = await reader.anchor_holders("backend_server", ["b1"], from_profile=2, apart=["c", "elsewhere"])
    assert [(r["cannot_list"], r["apart"], r["rung"], r["count"], r["examples"]) for r in found] == [
        (False, None, None, 1, ["a"]),
        (False, None, "accepted", 1, ["b"]),
        (False, "c", "accepted", 1, ["c"]),
        (True, None, None, 1, ["d"]),
    ]


# ---------------------------------------------------------------- authorization keys


def key_of(charger_id: str, *digests: str, **fields: Any) -> AuthorizationKeyRow:
    values: dict[str, Any] = {
        "charger_id": charger_id,
        "generation": 1 if digests else None,
        "origin": "generated" if digests else None,
        "weakness": None,
        "active_since": DAWN if digests else None,
        "pending_since": None,
        "in_doubt": False,
        "digests": digests,
        **fields,
    }
    return AuthorizationKeyRow(**values)


async def test_keys_are_listed_and_counted_by_what_is_wrong_with_them(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    chargers = [charger(name, family="F2" if name == "g" else "F1") for name in "abcdefgh"]
    chargers += [charger("i", security_profile=3), charger("j", decommissioned=True)]
    keys = [
        key_of("a", "aa"),
        key_of("b", "bb", "b2", active_since=DAWN + timedelta(days=30)),
        key_of("c", "cc", "b2", active_since=DAWN + timedelta(days=30)),
        key_of("d", "dd", origin="factory", active_since=DAWN + timedelta(days=30)),
        key_of("e", "ee", weakness="default-key", active_since=DAWN + timedelta(days=30)),
        key_of("f", "ff", in_doubt=True, active_since=DAWN + timedelta(days=30)),
        key_of("g", "gg", pending_since=DAWN, active_since=DAWN + timedelta(days=30)),
        key_of("i", "ii"),
        key_of("j", "jj"),
    ]
    await put(postgres_ledger_store, chargers=chargers, authorization_keys=keys)
    old_before = DAWN + timedelta(days=1)
    states = {
        item["charger_id"]: item["states"]
        for item in items(await reader.authorization_keys(old_before=old_before))
    }
    assert states == {
        "a": ["old"],
        "b": ["shared"],
        "c": ["shared"],
        "d": ["factory"],
        "e": ["weak"],
        "f": ["in-doubt"],
        "g": ["pending"],
        "h": ["unknown"],
    }
    for state, names in {
        "old": "a",
        "shared": "bc",
        "factory": "d",
        "weak": "e",
        "in-doubt": "f",
        "pending": "g",
        "unknown": "h",
    }.items():
        found = items(await reader.authorization_keys(old_before=old_before, state=state))
        assert "".join(item["charger_id"] for item in found) == names, state
    [only] = items(await reader.authorization_keys(old_before=old_before, family="F2"))
    assert datetime.fromisoformat(only["pending_since"]) == DAWN
    assert await reader.authorization_key_counts(old_before) == {
        **dict.fromkeys(("old", "factory", "weak", "in_doubt", "pending", "unknown"), 1),
        "shared": 2,
        "total": 8,
    }
    page = await reader.authorization_keys(old_before=old_before, limit=5)
    assert not isinstance(page, Refusal)
    rest = items(await reader.authorization_keys(old_before=old_before, cursor=page["next_cursor"]))
    assert [item["charger_id"] for item in rest] == ["f", "g", "h"]


async def test_a_rotated_key_takes_the_place_of_the_old_one(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    await put(postgres_ledger_store, chargers=[charger("a")], authorization_keys=[key_of("a", "aa")])
    await put(postgres_ledger_store, authorization_keys=[key_of("a", "bb", generation=2)])
    [found] = items(await reader.authorization_keys(old_before=DAWN))
    assert (found["generation"], found["states"]) == (2, [])


# ---------------------------------------------------------------- within cohorts


async def test_every_list_is_narrowed_down_to_the_cohorts_a_token_is_limited_to(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    names = ("a", "b", "c")
    doc = {name: b'{"charger_id":"%s"}' % name.encode() for name in (*names, "x")}
    await put(
        postgres_ledger_store,
        chargers=[charger(name, cohort=f"C-{name}") for name in names],
        certificates=[certificate(f"cert-{name}", charger_id=name, doc=doc[name]) for name in names],
        jobs=[job(f"job-{name}", charger_id=name, doc=doc[name]) for name in names],
        security_events=[
            SecurityEventRow(
                evidence_id=f"e-{name}", charger_id=owner, kind="k", observed_at=DAWN, doc=doc[name]
            )
            for name, owner in (*((name, name) for name in names), ("x", None))
        ],
        logs=[
            LogRow(
                log_id=f"log-{name}",
                charger_id=name,
                request_id=number,
                log="security",
                state="requested",
                secret_id="s",
                ticket_hash=f"{number:064d}",
                credential_hash="cc" * 32,
                max_bytes=1,
                requested_at=DAWN,
                expires_at=DAWN + LONG,
                doc=doc[name],
            )
            for number, name in enumerate(names)
        ],
        migrations=[
            MigrationRow(
                charger_id=name, family="f", cohort=f"C-{name}", state="active", opened_at=DAWN, doc=doc[name]
            )
            for name in names
        ],
        approvals=[
            ApprovalRow(
                approval_id=f"approval-{name}",
                charger_id=owner,
                kind="waiver",
                state="open",
                requested_at=DAWN,
                doc=doc[name],
            )
            for name, owner in (*((name, name) for name in names), ("x", None))
        ],
    )
    lists: dict[str, Any] = {
        "chargers": reader.chargers,
        "certificates": reader.certificates,
        "jobs": reader.jobs,
        "security_events": reader.security_events,
        "logs": reader.logs,
        "migrations": reader.migrations,
        "approvals": reader.approvals,
        "authorization_keys": partial(reader.authorization_keys, old_before=DAWN),
    }
    for listing, ask in lists.items():
        for cohorts, wanted in ((["C-a", "C-c"], {"a", "c"}), ([], set()), (["none"], set())):
            found = {item["charger_id"] for item in items(await ask(cohorts=cohorts))}
            assert found == wanted, (listing, cohorts)
        whole = {item["charger_id"] for item in items(await ask())}
        assert whole >= set(names), listing
    assert [row["count"] for row in await reader.open_approval_counts()] == [4]


# ---------------------------------------------------------------- identities


def identity(identity_id: str, **fields: Any) -> IdentityRow:
    values: dict[str, Any] = {
        "identity_id": identity_id,
        "kind": "vehicle",
        "state": "registered",
        "family": "bus",
        "site": "north",
        "cohort": "buses",
        "charger_id": None,
    } | fields
    shown = values | {"names": values.pop("names", []), "registered_at": None, "erased_at": None}
    return IdentityRow(**values, doc=json.dumps(shown).encode())


def bearer(name: str, identity_id: str, held: bool = True) -> HolderRow:
    return HolderRow(external_id=name, identity_id=identity_id, held=held, kept=True, since=DAWN)


async def test_identities_of_every_kind_are_one_list(
    reader: LedgerReader, postgres_ledger_store: PostgresLedgerStore
) -> None:
    evse = identity("i-2", kind="evse", charger_id="CP-1", family="", site="", cohort="")
    await put(
        postgres_ledger_store,
        chargers=[
            charger("CP-1", managed_identity_id="i-1", cohort="canary"),
            charger("CP-2", managed_identity_id="i-3", decommissioned=True),
        ],
        identities=[evse, identity("i-4"), identity("i-0", state="retired")],
        identity_holders=[
            *(bearer("vin:a", "i-4"), bearer("pcid:a", "i-4"), bearer("vin:b", "i-0")),
            bearer("vin:a", "i-0", held=False),
        ],
    )

    async def ids(**filters: Any) -> list[str]:
        return [item["identity_id"] for item in items(await reader.identities(**filters))]

    assert await ids() == ["i-0", "i-1", "i-2", "i-3", "i-4"]
    assert await ids(kind="charger") == ["i-1", "i-3"]
    assert await ids(kind="vehicle", state="registered") == ["i-4"]
    assert await ids(state="retired") == ["i-0", "i-3"]
    assert await ids(cohort="canary") == ["i-1", "i-2", "i-3"]
    assert await ids(charger_id="CP-1") == ["i-1", "i-2"]
    assert await ids(family="bus", site="north") == ["i-0", "i-4"]
    assert await ids(q="cp-1") == ["i-1", "i-2"]
    assert await ids(q="?", q_names=["pcid:a"]) == ["i-4"]
    assert await ids(names=[["vin:a", "vin:other key"]]) == ["i-0", "i-4"]
    assert await ids(names=[["vin:a"], ["pcid:a"]]) == ["i-4"]
    assert await ids(names=[[]]) == []
    paged, cursor = [], None
    while True:
        page = await reader.identities(limit=2, cursor=cursor)
        assert not isinstance(page, Refusal)
        paged += [item["identity_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert paged == ["i-0", "i-1", "i-2", "i-3", "i-4"]
    shown = await reader.identity("i-2")
    assert shown is not None
    assert (shown["cohort"], shown["site"]) == ("canary", "depot-north")
    of_charger = await reader.identity("i-1")
    assert of_charger is not None
    assert of_charger["names"] == ["serial_number:SN-CP-1"]
    assert await reader.identity("nobody") is None
    assert await reader.external_ids_known(["vin:b", "vin:c"]) == {"vin:b"}
