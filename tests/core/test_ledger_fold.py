"""Folding messages into one commit: the same chain however they were batched, each message once, rows that tell it."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors import command as c
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.charger.state import ChargerState
from bfactors.effect import IssueCertificate
from bfactors.ledger_fold import FACTS_KEY, FLEET_KEY, charger_key
from bfactors.ledger_row import GENESIS, CommonHash, row_hash
from bfactors.ocpp import Answered
from bfactors.x509 import parse_csr
from tests.core import pki
from tests.core.ledger import NOW, Partition, asked, fact, issue, opening, registration
from tests.core.world import fleet_facts

SCRIPT: list[v.Evidence | c.CommandEnvelope] = [
    asked(registration("CP-1"), "c1"),
    asked(registration("CP-2"), "c2"),
    fact(opening("s1"), "CP-1"),
    asked(issue("job-1"), "c3"),
    asked(issue("job-2", "CP-2"), "c4"),
    fact(v.BootReported(
        session_id="s1", vendor="a", model="b", serial_number="SN", firmware_version="1", reason="PowerUp"
    )),
    fact(opening("s2", incarnation="i2"), "CP-2"),
    fact(v.CsrReceived(session_id="s1", message_id="m", purpose="charging_station", csr=pki.csr("SN-CP-1"))),
    fact(v.SecurityEventReported(session_id="s1", event_type="TamperDetectionActivated", charger_time="x")),
    fact(v.SessionClosed(session_id="s2", reason="gone"), "CP-2"),
    asked(c.CancelJob(charger_id="CP-2", job_id="job-2", reason="enough"), "c5"),
    fact(v.DeadlinePassed(at=NOW), "CP-1"),
    fact(v.ConnectionRefused(remote_address="192.0.2.9", reason="charger-unknown", http_status=404), "CP-X"),
]  # fmt: skip


def committed(cuts: set[int]) -> Partition:
    partition = Partition()
    part: list[v.Evidence | c.CommandEnvelope] = []
    for number, message in enumerate(SCRIPT):
        part.append(message)
        if number in cuts:
            partition.commit(*part)
            part = []
    if part:
        partition.commit(*part)
    return partition


@settings(max_examples=40, deadline=None, database=None)
@given(st.sets(st.integers(0, len(SCRIPT) - 1)))
def test_a_batch_writes_the_same_chain_and_states_as_its_messages_one_by_one(cuts: set[int]) -> None:
    whole, parted = committed(set()), committed(cuts)
    assert [row.hash for row in parted.rows] == [row.hash for row in whole.rows]
    assert parted.rows == whole.rows
    assert parted.states == whole.states
    assert parted.answers == whole.answers
    parted.check_chain()


def test_each_charger_is_projected_once_a_batch_and_only_what_changed_is() -> None:
    partition = Partition()
    first = partition.commit(asked(registration()), fact(opening()), asked(issue()))
    assert [row.charger_id for row in first.chargers] == ["CP-1"]
    assert [row.key for row in first.aggregates] == [charger_key("CP-1")]
    second = partition.commit(
        fact(v.SecurityEventReported(session_id="s1", event_type="E", charger_time="t"))
    )
    assert second.jobs == []
    assert second.instructions == []
    assert second.effects == []
    stored = msgspec.json.decode(second.aggregates[0].state, type=ChargerState)
    assert stored == partition.states["CP-1"]


def test_evidence_moves_the_position_and_is_noted_in_the_inbox() -> None:
    partition = Partition()
    partition.commit(asked(registration()))
    batch = partition.commit(fact(opening("s1")), fact(opening("s2")))
    assert batch.evidence_position == 2
    assert len(batch.inbox) == 2


def test_a_late_duplicate_moves_the_position_and_nothing_else() -> None:
    partition = Partition()
    partition.commit(asked(registration()), fact(opening()))
    fold = partition.fold(["CP-1"])
    fold.seen(fact(opening()), 7)
    batch = partition.take(fold)
    assert batch.evidence_position == 7
    assert (batch.events, batch.inbox, batch.aggregates) == ([], [], [])


def test_a_command_without_a_key_leaves_no_idempotency_record_and_a_refused_one_with_a_key_does() -> None:
    partition = Partition()
    partition.commit(asked(registration()))
    batch = partition.commit(
        asked(registration(), "again", idempotency_key="k", request_hash="h"), asked(issue())
    )
    (row,) = batch.idempotency
    assert (row.key, row.request_hash) == ("k", "h")
    answer = msgspec.json.decode(row.answer, type=c.CommandAnswer)
    assert answer.refusal is not None
    assert answer.refusal.code == "charger-exists"


def test_two_registrations_of_one_serial_number_in_a_batch_give_one_charger() -> None:
    partition = Partition()
    partition.commit(
        asked(registration("CP-1", serial_number="SN")), asked(registration("CP-2", serial_number="SN"))
    )
    assert partition.states["CP-1"] is not None
    assert partition.states["CP-2"] is None
    refusal = partition.answers[1].refusal
    assert refusal is not None
    assert refusal.code == "serial-number-in-use"


def test_a_key_shown_by_two_identities_in_one_batch_belongs_to_the_first() -> None:
    partition = Partition()
    text = pki.csr("SN-1")
    for number in (1, 2):
        partition.commit(
            asked(registration(f"CP-{number}", expected_common_name="SN-1")),
            fact(opening(f"s{number}"), f"CP-{number}"),
        )
    csr = v.CsrReceived(session_id="s", message_id="m", purpose="charging_station", csr=text)
    batch = partition.commit(fact(csr, "CP-1"), fact(csr, "CP-2"))
    assert [row.managed_identity_id for row in batch.key_owners] == ["unit-CP-1"]
    assert [row.spki_sha256 for row in batch.key_owners] == [parse_csr(text).spki_sha256]
    refused = [row for row in batch.events if row.event == "CSRRefused"]
    assert [row.charger_id for row in refused] == ["CP-2"]


def test_an_effect_that_came_and_went_within_a_batch_is_never_written_as_owed() -> None:
    partition = Partition()
    partition.commit(asked(registration()), fact(opening()))
    csr = v.CsrReceived(session_id="s", message_id="m", purpose="charging_station", csr=pki.csr("SN-CP-1"))
    batch = partition.commit(fact(csr))
    (owed,) = batch.effects
    effect = msgspec.json.decode(owed.doc, type=IssueCertificate)
    gone = partition.commit(
        asked(c.CancelJob(charger_id="CP-1", job_id=effect.job_id, reason="enough"), "c9"),
        fact(csr, name="2"),
    )
    assert [(row.effect_id, row.outstanding) for row in gone.effects] != []
    assert (owed.effect_id, False) in [(row.effect_id, row.outstanding) for row in gone.effects]


def test_the_loss_of_a_node_ends_sessions_that_opened_in_the_same_batch() -> None:
    partition = Partition()
    partition.commit(asked(registration("CP-1")), asked(registration("CP-2")))
    lost = v.NodeLost(node="n1", incarnation="i1")
    fold = partition.fold(["CP-1", "CP-2"])
    fold.evidence(fact(opening("s1"), "CP-1"), 1)
    fold.evidence(fact(opening("s2", incarnation="other"), "CP-2"), 2)
    fold.node_lost(fact(lost, ""), lost, [], 3)
    batch = partition.take(fold)
    assert partition.states["CP-1"] is not None
    assert partition.states["CP-1"].session is None
    assert partition.states["CP-2"] is not None
    assert partition.states["CP-2"].session is not None
    assert batch.evidence_position == 3
    assert len(batch.inbox) == 3


def test_a_ring_that_decides_nothing_still_sets_the_next_deadline() -> None:
    partition = Partition()
    partition.commit(asked(registration()), asked(issue()))
    batch = partition.commit(fact(v.DeadlinePassed(at=NOW)))
    assert batch.events == []
    (timer,) = batch.timers
    assert timer.key == charger_key("CP-1")
    assert timer.due_at is not None
    assert timer.due_at > NOW


def test_a_fact_that_cannot_be_decided_on_is_set_aside_and_its_charger_paused() -> None:
    partition = Partition()
    partition.commit(asked(registration()))
    fold = partition.fold(["CP-1"])
    evidence = fact(opening())
    fold.quarantine(evidence, 5, "ValueError: odd")
    batch = partition.take(fold)
    (row,) = batch.quarantine
    assert msgspec.json.decode(row.body, type=v.Evidence) == evidence
    assert batch.evidence_position == 5
    state = partition.states["CP-1"]
    assert state is not None
    assert state.paused_reason is not None
    assert [row.event for row in batch.events] == ["EvidenceQuarantined"]
    partition.check_chain()


def test_what_could_not_be_read_is_kept_byte_for_byte() -> None:
    partition = Partition()
    fold = partition.fold([])
    fold.quarantine(fact(v.DeadlinePassed(at=NOW), ""), 1, "not readable", b"\xff\x00")
    assert fold.finish().quarantine[0].body == b"\xff\x00"


def test_newer_fleet_facts_are_taken_once_and_older_ones_never() -> None:
    partition = Partition()
    newer = msgspec.structs.replace(fleet_facts(), sequence=9)
    older = msgspec.structs.replace(fleet_facts(), sequence=3)
    batch = partition.commit(fact(v.FleetFactsChanged(facts=newer), ""))
    assert batch.fleet_position == 9
    assert [row.key for row in batch.aggregates] == [FACTS_KEY]
    batch = partition.commit(fact(v.FleetFactsChanged(facts=older), ""))
    assert batch.fleet_position == 9
    assert batch.aggregates == []


def test_a_fleet_event_gives_the_facts_the_sequence_it_was_recorded_under() -> None:
    partition = Partition(0)
    batch = partition.commit(
        asked(c.SetPolicy(scope="purpose:charging_station", values={"validity_days": 90}))
    )
    assert partition.fleet is not None
    assert partition.fleet.facts.sequence == batch.events[-1].sequence
    assert [row.key for row in batch.aggregates] == [FLEET_KEY]


def test_a_fleet_command_at_another_partition_is_refused() -> None:
    partition = Partition()
    partition.commit(asked(c.SetPolicy(scope="purpose:charging_station", values={})))
    refusal = partition.answers[0].refusal
    assert refusal is not None
    assert refusal.code == "wrong-partition"


def test_no_row_of_a_commit_but_the_state_and_nothing_published_holds_a_keys_verifier() -> None:
    secret = "5ec2e7" * 10
    key = KeyVerifier(generation=1, pepper_id="p", verifier=secret, state="active")
    partition = Partition()
    batch = partition.commit(
        asked(registration(key=key, key_origin="given"), idempotency_key="k", request_hash="h")
    )
    bare = msgspec.structs.replace(batch, aggregates=[])
    assert secret.encode() not in msgspec.json.encode(bare)
    assert secret not in msgspec.json.encode(partition.answers).decode()
    assert secret in batch.aggregates[0].state.decode()


def test_an_answer_from_a_session_that_is_over_settles_only_what_was_sent_on_it() -> None:
    partition = Partition()
    partition.commit(asked(registration()), fact(opening("s1")), asked(issue()))
    state = partition.states["CP-1"]
    assert state is not None
    instruction_id = next(iter(state.instructions))
    sent = {"instruction_id": instruction_id, "decision": 1}
    partition.commit(
        fact(v.InstructionSent(session_id="s1", **sent)),  # type: ignore[arg-type]
        fact(opening("s2")),
        fact(v.InstructionSent(session_id="s2", **sent)),  # type: ignore[arg-type]
        fact(v.InstructionAnswered(session_id="s1", outcome=Answered("Accepted"), **sent)),  # type: ignore[arg-type]
    )
    state = partition.states["CP-1"]
    assert state is not None
    assert instruction_id in state.instructions


@given(
    texts=st.lists(st.none() | st.text(max_size=8), min_size=6, max_size=6),
    payload=st.text(max_size=40),
    numbers=st.tuples(st.integers(0, 16), st.integers(1, 10**9), st.integers(0, 99), st.integers(0, 10**6)),
)
def test_a_commit_hashes_its_rows_as_verification_does(
    texts: list[str | None], payload: str, numbers: tuple[int, int, int, int]
) -> None:
    partition, sequence, policy_version, fleet_sequence = numbers
    names = ("charger_id", "managed_identity_id", "purpose", "variant", "job_id", "certificate_id")
    fields: dict[str, Any] = {
        "previous_hash": GENESIS,
        "sequence": sequence,
        "event": "ChargerRegistered",
        "schema_version": 1,
        "actor": "operator:ada",
        "cause": "c" * 32,
        "payload": payload,
        **dict(zip(names, texts, strict=True)),
    }
    common = CommonHash(partition, NOW, policy_version, fleet_sequence)
    assert common.of(**fields) == row_hash(
        partition=partition,
        recorded_at=NOW,
        policy_version=policy_version,
        fleet_sequence=fleet_sequence,
        **fields,
    )
