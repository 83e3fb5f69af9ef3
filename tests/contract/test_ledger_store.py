"""What every LedgerStore promises, asked of PostgreSQL and of the fake alike."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from bfactors.errors import EvidenceKnown, Fenced, LedgerCorrupt, Overtaken
from bfactors.ledger_row import (
    GENESIS,
    EffectRow,
    IdempotencyRow,
    InstructionRow,
    KeyOwnerRow,
    Lease,
    QuarantineRow,
    SecurityEventRow,
    TimerRow,
)
from bfactors.ports import LedgerStore
from bfactors.x509 import parse_certificate
from persistence.ledger_store import PostgresLedgerStore
from tests.core import pki
from tests.fakes.ledger_row import DAWN, aggregate, batch, certificate, chain, charger, event, job
from tests.fakes.ledger_store import FakeLedgerStore

pytest_plugins = ("tests.fakes.ledger_database",)

Store = PostgresLedgerStore | FakeLedgerStore
LONG = timedelta(minutes=5)
LAPSED = timedelta(0)
"""A lease of no length is over by the next statement: nobody has to wait for it."""


@pytest.fixture(params=["postgres", "fake"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "fake":
        return FakeLedgerStore()
    real: PostgresLedgerStore = request.getfixturevalue("postgres_ledger_store")
    return real


async def claimed(store: LedgerStore, partition: int = 3, owner: str = "a", lease: timedelta = LONG) -> Lease:
    held = await store.claim(partition, owner, lease)
    assert held is not None
    return held


async def standing(store: LedgerStore, partition: int = 3) -> tuple[Any, ...]:
    """Everything a failed commit could have left behind in one partition."""
    return (
        await store.events_after(partition, 0, 100),
        await store.load(partition, ["charger:CH 1.*>"]),
        await store.known_evidence(partition, ["e1", "e2"]),
        await store.idempotent_answer("idem-1"),
        await store.key_owner(["aa" * 32]),
        await store.serial_owner("SN-CH 1.*>"),
        await store.outstanding_effects(partition),
        await store.due(partition, 10),
    )


def everything(lease: Lease) -> dict[str, Any]:
    """One row for each table."""
    return {
        "aggregates": [aggregate(version=2, state=b'{"v":2}')],
        "inbox": ["e1"],
        "chargers": [charger()],
        "certificates": [certificate()],
        "jobs": [job()],
        "instructions": [
            InstructionRow(
                instruction_id="i1",
                charger_id="CH 1.*>",
                job_id="job-1",
                kind="ObtainCsr",
                outstanding=True,
                doc=b"{}",
            )
        ],
        "effects": [EffectRow(effect_id="ef1", purpose="charging_station", outstanding=True, doc=b'{"x":1}')],
        "timers": [TimerRow("charger:CH 1.*>", DAWN)],
        "key_owners": [KeyOwnerRow("aa" * 32, "mi-1")],
        "security_events": [
            SecurityEventRow(
                evidence_id="e1", charger_id="CH 1.*>", kind="TamperDetection", observed_at=DAWN, doc=b"{}"
            )
        ],
        "idempotency": [IdempotencyRow("idem-1", "hash", b'{"ok":true}')],
        "quarantine": [QuarantineRow(evidence_id="e2", charger_id="CH 1.*>", error="ValueError", body=b"{}")],
    }


# ---------------------------------------------------------------- the lease


async def test_a_fresh_partition_starts_at_the_genesis_hash(store: Store) -> None:
    assert await claimed(store) == Lease(
        partition=3,
        owner="a",
        epoch=1,
        sequence=0,
        head_hash=GENESIS,
        evidence_position=0,
        fleet_position=0,
        outbox_position=0,
    )


async def test_a_live_lease_keeps_others_out_but_not_its_own_owner(store: Store) -> None:
    await claimed(store)
    assert await store.claim(3, "b", LONG) is None
    assert (await claimed(store, owner="a")).epoch == 2


async def test_a_lapsed_lease_is_taken_over_where_the_last_commit_left_it(store: Store) -> None:
    first = await claimed(store)
    first = await store.commit(first, batch(first, 2), LAPSED)
    second = await claimed(store, owner="b")
    assert (second.owner, second.epoch) == ("b", first.epoch + 1)
    assert (second.sequence, second.head_hash, second.evidence_position) == (2, first.head_hash, 1)


async def test_of_two_simultaneous_claims_one_succeeds(store: Store) -> None:
    results = await asyncio.gather(*(store.claim(3, name, LONG) for name in "abcd"))
    assert sum(result is not None for result in results) == 1


async def test_renewing_keeps_a_lease_alive_until_someone_else_holds_it(store: Store) -> None:
    first = await claimed(store, lease=LAPSED)
    await store.renew(first, LONG)
    assert await store.claim(3, "b", LONG) is None
    await store.renew(first, LAPSED)
    await claimed(store, owner="b")
    with pytest.raises(Fenced):
        await store.renew(first, LONG)


async def test_a_released_partition_can_be_claimed_at_once(store: Store) -> None:
    first = await claimed(store)
    await store.release(first)
    second = await claimed(store, owner="b")
    await store.release(first)  # the stale owner's release changes nothing
    assert await store.claim(3, "c", LONG) is None
    assert second.epoch == first.epoch + 1


# ---------------------------------------------------------------- committing


async def test_a_commit_writes_every_table_and_moves_the_lease_forward(store: Store) -> None:
    lease = await claimed(store)
    written = batch(lease, 3, fleet_position=7, **everything(lease))
    after = await store.commit(lease, written, LONG)
    assert (after.sequence, after.head_hash) == (3, written.events[-1].hash)
    assert (after.evidence_position, after.fleet_position, after.epoch) == (1, 7, lease.epoch)
    assert await standing(store) == (
        written.events,
        {"charger:CH 1.*>": aggregate(version=2, state=b'{"v":2}')},
        {"e1"},
        ("hash", b'{"ok":true}'),
        {"aa" * 32: "mi-1"},
        "CH 1.*>",
        written.effects,
        [("charger:CH 1.*>", DAWN)],
    )
    again = await claimed(store)
    assert (again.sequence, again.evidence_position, again.fleet_position) == (3, 1, 7)


async def test_commits_follow_one_another(store: Store) -> None:
    lease = await claimed(store)
    for _ in range(3):
        lease = await store.commit(lease, batch(lease, 2), LONG)
    assert [row.sequence for row in await store.events_after(3, 2, 3)] == [3, 4, 5]


async def test_a_commit_without_events_moves_only_the_positions(store: Store) -> None:
    lease = await claimed(store)
    after = await store.commit(lease, batch(lease, 0, inbox=["e1"]), LONG)
    assert (after.sequence, after.head_hash, after.evidence_position) == (0, GENESIS, 1)
    assert await store.known_evidence(3, ["e1", "e2"]) == {"e1"}


async def test_a_commit_renews_the_lease(store: Store) -> None:
    lease = await claimed(store, lease=LAPSED)
    await store.commit(lease, batch(lease), LONG)
    assert await store.claim(3, "b", LONG) is None


async def test_a_stale_owner_is_fenced_and_writes_nothing(store: Store) -> None:
    stale = await claimed(store, lease=LAPSED)
    await claimed(store, owner="b")
    before = await standing(store)
    with pytest.raises(Fenced):
        await store.commit(stale, batch(stale, 2, **everything(stale)), LONG)
    with pytest.raises(Fenced):
        await store.outbox_done(stale, 1)
    assert await standing(store) == before
    assert before[0] == []


async def test_a_sequence_that_has_moved_on_fences_the_same_epoch_too(store: Store) -> None:
    lease = await claimed(store)
    await store.commit(lease, batch(lease), LONG)
    before = await standing(store)
    with pytest.raises(Fenced):
        await store.commit(lease, batch(lease, 2, **everything(lease)), LONG)
    assert await standing(store) == before


@pytest.mark.parametrize("conflict", ["idempotency", "serial", "fingerprint"])
async def test_a_commit_that_fails_in_the_middle_writes_nothing(store: Store, conflict: str) -> None:
    other = await claimed(store, partition=4)
    taken: dict[str, Any] = {
        "idempotency": [IdempotencyRow("idem-1", "hash", b"{}")],
        "serial": [charger("other", serial_number="SN-CH 1.*>")],
        "fingerprint": [certificate("other", fingerprint_sha256=certificate().fingerprint_sha256)],
    }
    table = {"idempotency": "idempotency", "serial": "chargers", "fingerprint": "certificates"}[conflict]
    await store.commit(other, batch(other, **{table: taken[conflict]}), LONG)
    lease = await claimed(store)
    before = await standing(store)
    with pytest.raises(Overtaken):
        await store.commit(lease, batch(lease, 2, **everything(lease)), LONG)
    assert await standing(store) == before
    assert (await store.commit(lease, batch(lease), LONG)).sequence == 1


@pytest.mark.parametrize("fault", ["gap", "previous hash", "partition"])
async def test_events_that_do_not_continue_the_chain_are_not_written(store: Store, fault: str) -> None:
    lease = await claimed(store)
    good = chain(lease, 1)
    bad = {
        "gap": event(good[0].hash, 3, 3),
        "previous hash": event(GENESIS, 3, 2),
        "partition": event(good[0].hash, 4, 2),
    }[fault]
    with pytest.raises(LedgerCorrupt):
        await store.commit(lease, batch(lease, events=[*good, bad]), LONG)
    assert await store.events_after(3, 0, 10) == []


async def test_the_last_of_several_versions_of_a_row_in_one_batch_counts(store: Store) -> None:
    lease = await claimed(store)
    rows: dict[str, Any] = {
        "aggregates": [aggregate(version=1), aggregate(version=2)],
        "timers": [TimerRow("k", DAWN), TimerRow("k", DAWN + LONG)],
        "inbox": ["e1", "e1"],
        "chargers": [charger(serial_number="old"), charger(serial_number="new")],
        "key_owners": [KeyOwnerRow("aa" * 32, "first"), KeyOwnerRow("aa" * 32, "second")],
    }
    await store.commit(lease, batch(lease, **rows), LONG)
    assert (await store.load(3, ["charger:CH 1.*>"]))["charger:CH 1.*>"].version == 2
    assert await store.due(3, 10) == [("k", DAWN + LONG)]
    assert (await store.serial_owner("old"), await store.serial_owner("new")) == (None, "CH 1.*>")
    assert await store.key_owner(["aa" * 32]) == {"aa" * 32: "first"}


# ---------------------------------------------------------------- what is read back


async def test_evidence_taken_before_keeps_its_whole_batch_out(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, inbox=["e1"]), LONG)
    before = await standing(store)
    with pytest.raises(EvidenceKnown):
        await store.commit(lease, batch(lease, 2, **{**everything(lease), "inbox": ["e1", "e2"]}), LONG)
    assert await standing(store) == before
    lease = await store.commit(lease, batch(lease, inbox=["e2"]), LONG)
    assert await store.known_evidence(3, ["e1", "e2", "e3"]) == {"e1", "e2"}
    assert await store.known_evidence(4, ["e1"]) == set()


async def test_aggregates_belong_to_their_partition(store: Store) -> None:
    lease = await claimed(store)
    await store.commit(lease, batch(lease, aggregates=[aggregate(name) for name in ("a", "b", "c")]), LONG)
    assert sorted(await store.load(3, ["a", "c", "z"])) == ["a", "c"]
    assert await store.load(4, ["a"]) == {}
    assert [row.key for row in await store.aggregates_after(3, "a", 10)] == ["b", "c"]
    assert [row.key for row in await store.aggregates_after(3, "", 2)] == ["a", "b"]


async def test_older_certificates_are_those_that_ended_here_and_are_valid_at_their_ca(store: Store) -> None:
    lease = await claimed(store)
    later = DAWN + timedelta(days=1)
    rows = [
        certificate("a", state="superseded", spki_sha256="k1", issued_at=DAWN + LONG, issuing_ca_id="ca1"),
        certificate("b", state="deleted", spki_sha256="k1", issued_at=DAWN),
        certificate("c", state="active", spki_sha256="k1"),
        certificate("d", state="revoked", spki_sha256="k1"),
        certificate("e", state="inactive", spki_sha256="k1", not_after=later),
        certificate("f", state="rejected", spki_sha256="k1", mode="tracked-only"),
        certificate("g", state="rejected", spki_sha256="k1", charger_id="another"),
        certificate("h", state="rejected", spki_sha256="k1", charger_id="third"),
    ]
    await store.commit(lease, batch(lease, certificates=rows), LONG)
    found = await store.former_certificates(3, ["CH 1.*>", "another"], later)
    assert [one.certificate_id for one in found] == ["b", "a", "g"]
    assert (found[1].charger_id, found[1].issuing_ca_id, found[1].spki_sha256, found[1].issued_at) == (
        "CH 1.*>",
        "ca1",
        "k1",
        DAWN + LONG,
    )
    assert await store.former_certificates(4, ["CH 1.*>"], later) == []
    assert await store.certificate_docs(3, ["a", "c", "nobody"]) == {"a": rows[0].doc, "c": rows[2].doc}
    assert await store.certificate_docs(4, ["a"]) == {}


async def test_the_key_of_a_row_from_before_it_had_a_column_is_read_from_its_certificate(
    store: Store,
) -> None:
    lease = await claimed(store)
    end = DAWN + timedelta(days=180)
    pem = pki.ca().sign(pki.csr("SN-1"), DAWN, end)
    body = {
        **dict.fromkeys(("managed_identity_id", "charger_id", "purpose", "variant", "mode", "state"), "x"),
        **dict.fromkeys(("authority", "fingerprint_sha256", "serial_number", "subject", "issuer"), "x"),
        **dict.fromkeys(("not_before", "not_after", "issued_at"), DAWN),
        "certificate_id": "a",
        "external_ref": None,
        "issuing_ca_id": None,
        "pem": pem,
        "chain_pem": "",
    }
    row = certificate("a", state="superseded", doc=msgspec.json.encode(body))
    await store.commit(lease, batch(lease, certificates=[row]), LONG)
    [found] = await store.former_certificates(3, ["CH 1.*>"], DAWN)
    assert found.spki_sha256 == parse_certificate(pem).spki_sha256
    assert found.issued_at == DAWN


async def test_timers_come_soonest_first_and_can_be_moved_and_cleared(store: Store) -> None:
    lease = await claimed(store)
    at = [DAWN + timedelta(minutes=minute) for minute in range(4)]
    rows = [TimerRow("d", at[3]), TimerRow("b", at[1]), TimerRow("c", at[2]), TimerRow("a", at[1])]
    lease = await store.commit(lease, batch(lease, timers=rows), LONG)
    assert await store.due(3, 3) == [("a", at[1]), ("b", at[1]), ("c", at[2])]
    await store.commit(
        lease, batch(lease, timers=[TimerRow("b", None), TimerRow("d", at[0]), TimerRow("z", None)]), LONG
    )
    assert await store.due(3, 10) == [("d", at[0]), ("a", at[1]), ("c", at[2])]
    assert await store.due(4, 10) == []


async def test_a_settled_effect_is_gone(store: Store) -> None:
    lease = await claimed(store)
    owed = [
        EffectRow(effect_id=name, purpose="charging_station", outstanding=True, doc=b"{}") for name in "ab"
    ]
    lease = await store.commit(lease, batch(lease, effects=owed), LONG)
    settled = msgspec.structs.replace(owed[0], outstanding=False)
    await store.commit(lease, batch(lease, effects=[settled]), LONG)
    assert await store.outstanding_effects(3) == [owed[1]]
    assert await store.outstanding_effects(4) == []


async def test_a_public_key_stays_with_whoever_showed_it_first(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, key_owners=[KeyOwnerRow("ab" * 32, "mi-1")]), LONG)
    await store.commit(lease, batch(lease, key_owners=[KeyOwnerRow("ab" * 32, "mi-2")]), LONG)
    assert await store.key_owner(["ab" * 32, "cd" * 32]) == {"ab" * 32: "mi-1"}


async def test_a_serial_number_passes_to_a_successor_within_one_commit(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, chargers=[charger("old", serial_number="S")]), LONG)
    assert await store.serial_owner("S") == "old"
    retired = charger("old", serial_number="S", decommissioned=True)
    # The successor was already touched earlier in the batch: its last version counts, and counts after the retirement.
    rows = [charger("new", serial_number="T"), retired, charger("new", serial_number="S")]
    await store.commit(lease, batch(lease, chargers=rows), LONG)
    assert await store.serial_owner("S") == "new"


async def test_the_chargers_of_a_lost_node_can_be_found(store: Store) -> None:
    lease = await claimed(store)
    rows = [charger("b", incarnation="n1"), charger("a", incarnation="n1"), charger("c", incarnation="n2")]
    lease = await store.commit(lease, batch(lease, chargers=rows), LONG)
    other = await claimed(store, partition=4)
    await store.commit(other, batch(other, chargers=[charger("d", incarnation="n1")]), LONG)
    assert await store.chargers_on(3, "n1") == ["a", "b"]
    await store.commit(lease, batch(lease, chargers=[charger("a", incarnation=None)]), LONG)
    assert await store.chargers_on(3, "n1") == ["b"]


async def test_the_outbox_position_only_moves_forward_and_survives_commits(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, 3), LONG)
    await store.outbox_done(lease, 3)
    await store.outbox_done(lease, 2)
    lease = await store.commit(lease, batch(lease), LONG)
    assert lease.outbox_position == 3
    assert (await claimed(store)).outbox_position == 3


async def test_a_released_partition_keeps_what_was_published(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, 3), LONG)
    await store.release(msgspec.structs.replace(lease, outbox_position=3))
    await store.release(lease)
    assert (await claimed(store, owner="b")).outbox_position == 3


async def test_a_commit_carries_the_outbox_position_along_but_never_back(store: Store) -> None:
    lease = await claimed(store)
    lease = await store.commit(lease, batch(lease, 3), LONG)
    published = msgspec.structs.replace(lease, outbox_position=2)
    lease = await store.commit(published, batch(published), LONG)
    assert lease.outbox_position == 2
    await store.outbox_done(lease, 4)
    lease = await store.commit(lease, batch(lease), LONG)
    assert lease.outbox_position == 4
