"""The owner of a partition: claiming, committing, failing and taking over, with store and NATS away and back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from actors.ledger import actor, announcement, outgoing_event
from bfactors import command as c
from bfactors import evidence as v
from bfactors.errors import Overtaken
from bfactors.fleet.state import FleetFacts
from bfactors.identity import FLEET, partition_of
from bfactors.instruction import InstallAnchor, ObtainCsr, is_repeatable
from bfactors.ledger_fold import FACTS_KEY
from bfactors.ledger_row import GENESIS, AggregateRow, Batch, EventRow, row_hash
from bfactors.ocpp import Answered
from bfactors.policy import PolicyOverride, PolicySet
from tests.actors.ledger_world import PARTITION, LedgerWorld, chargers_of
from tests.core import pki
from tests.core.ledger import fact, issue, opening, registration
from tests.core.world import fleet_facts
from tests.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks and retries of milliseconds: what they wait for is moved by hand."""
    monkeypatch.setattr(actor, "TICK_S", 0.005)
    monkeypatch.setattr(actor, "CLAIM_AGAIN_S", 0.005)
    monkeypatch.setattr(actor, "RETRY_S", 0.005)
    monkeypatch.setattr(announcement, "RETRY_S", 0.005)
    monkeypatch.setattr(outgoing_event, "RETRY_S", 0.005)


@pytest.fixture
async def world() -> AsyncIterator[LedgerWorld]:
    made = LedgerWorld()
    yield made
    await made.stop()
    assert made.failures == []


# ---------------------------------------------------------------- the lease


async def test_a_command_is_answered_once_it_is_committed(world: LedgerWorld) -> None:
    world.start()
    world.store.open.clear()
    asking = asyncio.create_task(world.ask(registration()))
    await world.until(lambda: world.store.waiting)
    await world.quiet()
    assert not asking.done()
    world.store.open.set()
    answer = await asking
    assert answer.refusal is None
    assert world.stored().serial_number == "SN-CP-1"


async def test_a_partition_another_node_owns_is_taken_when_its_lease_lapses(world: LedgerWorld) -> None:
    await world.store.claim(PARTITION, "core-0", timedelta(seconds=12))
    world.start()
    await world.quiet()
    assert PARTITION not in world.nats.handlers
    world.time.now_s += 13
    await world.accepted(registration())


async def test_an_idle_owner_renews_its_lease(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    for _ in range(4):
        world.time.now_s += 6
        await world.quiet()
    assert await world.store.claim(PARTITION, "core-2", timedelta(seconds=12)) is None


async def test_a_fenced_owner_drops_what_it_remembers_and_claims_again(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    world.time.now_s += 13
    taken = await world.store.claim(PARTITION, "core-2", timedelta(seconds=1))
    assert taken is not None
    answer = await world.ask(issue())
    assert answer.retry
    assert world.stored().jobs == {}
    world.time.now_s += 2
    await world.accepted(issue("job"))
    assert list(world.stored().jobs) == ["job"]
    assert world.store._partitions[PARTITION].owner == "core-1"


async def test_a_stopped_owner_finishes_its_commit_and_gives_the_partition_back(world: LedgerWorld) -> None:
    owner = world.start()
    world.store.open.clear()
    asking = asyncio.create_task(world.ask(registration()))
    await world.until(lambda: world.store.waiting)
    stopping = asyncio.create_task(owner.stop())
    await world.quiet()
    world.store.open.set()
    await stopping
    assert (await asking).refusal is None
    assert world.stored() is not None
    assert await world.store.claim(PARTITION, "core-2", timedelta(seconds=1)) is not None


async def test_a_stopping_owner_starts_no_further_commit(world: LedgerWorld) -> None:
    owner = world.start()
    await world.accepted(registration())
    world.store.open.clear()
    first = asyncio.create_task(world.ask(issue("job")))
    await world.until(lambda: world.store.waiting)
    second = asyncio.create_task(world.ask(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough")))
    await world.quiet()
    stopping = asyncio.create_task(owner.stop())
    await world.quiet()
    world.store.open.set()
    await stopping
    assert (await first).refusal is None
    assert (await second).retry
    assert list(world.stored().jobs) == ["job"]


async def test_draining_ends(world: LedgerWorld) -> None:
    owner = world.start()
    await world.accepted(registration())
    async with asyncio.timeout(PATIENCE_S):
        await owner.drain()


async def test_everyone_who_waits_is_asked_to_come_again_when_ownership_ends(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    world.store.open.clear()
    asking = [asyncio.create_task(world.ask(issue(f"job-{n}"))) for n in range(5)]
    await world.until(lambda: world.store.waiting)
    await world.quiet()
    world.store.fail_next_commit = "before"
    world.store.open.set()
    answers = await asyncio.gather(*asking)
    assert all(answer.retry for answer in answers)
    await world.accepted(issue("job"))


async def test_a_partition_that_is_given_up_takes_its_effects_with_it(world: LedgerWorld) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    csr = pki.csr("SN-CP-1")
    await world.tell(v.CsrReceived(session_id="s1", message_id="m", purpose="charging_station", csr=csr))
    await world.until(lambda: world.effects["core-1"])
    world.time.now_s += 13
    assert await world.store.claim(PARTITION, "core-2", timedelta(seconds=60)) is not None
    await world.tell(v.SessionClosed(session_id="s1", reason="gone"))
    await world.until(lambda: not world.effects["core-1"])
    assert world.store.effects


# ---------------------------------------------------------------- commits in doubt


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_command_whose_commit_is_in_doubt_happens_once_however_often_it_is_repeated(
    world: LedgerWorld, when: str
) -> None:
    world.start()
    await world.accepted(registration())
    world.store.fail_next_commit = when  # type: ignore[assignment]
    fields = {"idempotency_key": "key", "request_hash": "hash"}
    assert (await world.ask(issue("job"), **fields)).retry
    answer = await world.insist(issue("job"), **fields)
    assert answer.refusal is None
    assert answer.repeated is (when == "after")
    assert world.names().count("CertificateRequested") == 1
    other = await world.refused(issue("job"), idempotency_key="key", request_hash="another")
    assert other.code == "idempotency-key-reused"


@pytest.mark.parametrize("when", ["before", "after"])
async def test_evidence_whose_commit_is_in_doubt_counts_once(world: LedgerWorld, when: str) -> None:
    world.start()
    await world.accepted(registration())
    world.store.fail_next_commit = when  # type: ignore[assignment]
    await world.tell(opening())
    await world.tell(v.SecurityEventReported(session_id="s1", event_type="E", charger_time="t"))
    await world.until(lambda: "SecurityEventRecorded" in world.names())
    assert world.names().count("ChargerSessionOpened") == 1
    assert world.names().count("SecurityEventRecorded") == 1
    check_chain(world.store.events[PARTITION])


async def test_evidence_delivered_twice_counts_once_even_to_the_next_owner(world: LedgerWorld) -> None:
    first = world.start()
    await world.accepted(registration())
    evidence = await world.tell(opening())
    await world.until(lambda: "ChargerSessionOpened" in world.names())
    stream = world.nats.evidence[PARTITION]
    stream.append((stream[-1][0] + 1, msgspec.json.encode(evidence)))
    await first.stop()
    world.start(owner="core-2")
    await world.until(lambda: world.store._partitions[PARTITION].evidence_position == stream[-1][0])
    assert world.names().count("ChargerSessionOpened") == 1


async def test_while_the_store_is_away_evidence_waits_and_nothing_is_lost(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    world.store.unavailable = True
    await world.tell(opening())
    await world.quiet()
    world.store.unavailable = False
    await world.until(lambda: "ChargerSessionOpened" in world.names())


# ---------------------------------------------------------------- batches


async def test_commands_that_come_while_a_commit_is_on_its_way_share_the_next_one(
    world: LedgerWorld,
) -> None:
    world.start()
    names = chargers_of(PARTITION, 20)
    await world.accepted(registration(names[0]))
    commits = len(world.store.commits)
    world.store.open.clear()
    asking = [asyncio.create_task(world.accepted(registration(name))) for name in names[1:]]
    await world.until(lambda: world.store.waiting)
    await world.quiet()
    world.store.open.set()
    answers = await asyncio.gather(*asking)
    assert [answer["charger_id"] for answer in answers] == names[1:]
    assert len(world.store.commits) - commits <= 3


async def test_one_command_sent_twice_at_once_is_one_command(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    world.store.open.clear()
    await world.tell(opening())
    await world.until(lambda: world.store.waiting)
    fields = {"idempotency_key": "key", "request_hash": "hash"}
    asking = [asyncio.create_task(world.ask(issue("job"), **fields)) for _ in range(2)]
    await world.quiet()
    world.store.open.set()
    first, second = await asyncio.gather(*asking)
    assert (first.repeated, second.repeated) == (False, True)
    assert first.result == second.result
    assert world.names().count("CertificateRequested") == 1


async def test_a_backlog_larger_than_a_batch_is_worked_off_in_order(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "BATCH_LIMIT", 5)
    monkeypatch.setattr(actor, "PENDING_LIMIT", 8)
    owner = world.start()
    await world.accepted(registration())
    await owner.stop()
    for number in range(43):
        await world.tell(v.SecurityEventReported(session_id="s", event_type=f"E{number}", charger_time="t"))
    before = len(world.store.commits)
    world.start()
    await world.until(lambda: world.store._partitions[PARTITION].evidence_position == 43)
    recorded = [r.payload for r in world.store.events[PARTITION] if r.event == "SecurityEventRecorded"]
    assert [f'"E{number}"' in text for number, text in enumerate(recorded)] == [True] * 43
    assert len(world.store.commits) - before >= 9
    check_chain(world.store.events[PARTITION])


def check_chain(rows: list[EventRow]) -> None:
    previous = GENESIS
    for row in rows:
        fields = {name: getattr(row, name) for name in EventRow.__struct_fields__ if name != "hash"}
        assert (row.previous_hash, row.hash) == (previous, row_hash(**fields))
        previous = row.hash


async def test_recorded_time_never_runs_backwards_not_even_to_the_next_owner(world: LedgerWorld) -> None:
    first = world.start()
    await world.accepted(registration())
    world.time.now_s += 100
    await world.accepted(issue("job"))
    await first.stop()
    world.time.now_s -= 60
    world.start(owner="core-2")
    await world.accepted(c.CancelJob(charger_id="CP-1", job_id="job", reason="enough"))
    times = [row.recorded_at for row in world.store.events[PARTITION]]
    assert times == sorted(times)


# ---------------------------------------------------------------- poison


async def test_evidence_that_cannot_be_decided_on_is_set_aside_and_the_next_is_not(
    world: LedgerWorld,
) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.accepted(issue("job"))
    bad = v.IssuanceCompleted(job_id="job", attempt=1, external_ref="arn", chain_pem="nonsense")
    poison = await world.tell(bad)
    await world.connect()
    await world.until(lambda: "ChargerSessionOpened" in world.names())
    assert list(world.store.quarantine) == [poison.evidence_id]
    assert "MalformedX509" in world.store.quarantine[poison.evidence_id].error
    assert world.stored().jobs["job"].held_by == "charger/CP-1"
    await world.accepted(c.ResumeCharger(charger_id="CP-1", reason="looked at it"))
    await world.until(lambda: world.orders)
    assert isinstance(world.orders[0].body, InstallAnchor)


async def test_bytes_that_are_no_evidence_are_kept_as_they_came(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    world.nats.evidence[PARTITION].append((1, b"\x00 no json"))
    world.nats.changed.tell()
    await world.until(lambda: world.store.quarantine)
    (row,) = world.store.quarantine.values()
    assert row.body == b"\x00 no json"
    await world.connect()
    await world.until(lambda: "ChargerSessionOpened" in world.names())


def _names(batch: Batch, event_type: str) -> bool:
    return any(event_type in row.kind for row in batch.security_events)


async def test_a_fact_the_store_refuses_is_found_among_its_neighbours_and_set_aside(
    world: LedgerWorld,
) -> None:
    owner = world.start()
    await world.accepted(registration())
    await owner.stop()
    world.store.refuse = lambda batch: ValueError("text with NUL") if _names(batch, "Bad") else None
    for name in ("One", "Bad", "Two"):
        await world.tell(v.SecurityEventReported(session_id="s", event_type=name, charger_time="t"))
    fields = {"idempotency_key": "k", "request_hash": "h"}
    world.start()
    await world.accepted(issue("job"), **fields)
    await world.until(lambda: len(world.store.security_events) == 2)
    assert [row.kind for row in world.store.security_events.values()] == ["One", "Two"]
    (row,) = world.store.quarantine.values()
    assert "NUL" in row.error
    assert world.stored().paused_reason is not None
    check_chain(world.store.events[PARTITION])


async def test_a_command_the_store_refuses_is_answered_and_does_not_stop_the_partition(
    world: LedgerWorld,
) -> None:
    world.start()
    world.store.refuse = lambda batch: (
        ValueError("odd") if any(row.site == "bad" for row in batch.chargers) else None
    )
    refusal = await world.refused(registration(site="bad"))
    assert (refusal.code, refusal.status) == ("cannot-be-recorded", 500)
    assert world.state() is None
    await world.accepted(registration())


async def test_a_serial_number_taken_by_another_partition_in_the_meantime_is_refused(
    world: LedgerWorld,
) -> None:
    world.start()
    other = next(f"CP-{n}" for n in range(2, 99) if partition_of(f"CP-{n}") != PARTITION)
    world.start(partition_of(other))
    await world.accepted(registration(chargers_of(PARTITION, 1, "CP-1")[0]))
    world.store.open.clear()
    first = asyncio.create_task(world.accepted(registration(other, serial_number="SN"), partition_of(other)))
    await world.until(lambda: world.store.waiting == 1)
    second = asyncio.create_task(world.refused(registration("CP-1", serial_number="SN")))
    await world.until(lambda: world.store.waiting == 2)
    world.store.open.set()
    await first
    assert (await second).code == "serial-number-in-use"


async def test_a_fact_overtaken_for_ever_is_set_aside_and_a_command_overtaken_for_ever_is_to_come_again(
    world: LedgerWorld,
) -> None:
    world.start()
    await world.accepted(registration())
    world.store.refuse = lambda batch: Overtaken("ledger", "taken") if _names(batch, "Taken") else None
    await world.tell(v.SecurityEventReported(session_id="s", event_type="Taken", charger_time="t"))
    await world.until(lambda: world.store.quarantine)
    world.store.refuse = lambda batch: Overtaken("ledger", "taken") if batch.jobs else None
    assert (await world.ask(issue("job"))).retry
    world.store.refuse = lambda _: None
    await world.accepted(c.ResumeCharger(charger_id="CP-1", reason="looked at it"))


async def test_a_store_that_refuses_even_the_quarantine_fails_the_actor_and_loses_nothing() -> None:
    world = LedgerWorld()
    world.start()
    await world.accepted(registration())
    world.store.refuse = lambda _: ValueError("no such table")
    await world.tell(opening())
    await world.until(lambda: world.failures)
    assert world.store.quarantine == {}
    world.store.refuse = lambda _: None
    world.start(owner="core-1")
    await world.until(lambda: "ChargerSessionOpened" in world.names())
    await world.stop()


# ---------------------------------------------------------------- time


async def to_trigger(world: LedgerWorld) -> None:
    """A charger whose anchors are confirmed by its answers, so that it is asked for a CSR next."""
    values: dict[str, object] = {"confirm_rung": "accepted"}
    override = PolicyOverride(scope="purpose:charging_station", values=values)
    facts = msgspec.structs.replace(
        fleet_facts(), sequence=1, policies=PolicySet(version=2, overrides=(override,))
    )
    await tell_facts(world, facts)
    await world.accepted(registration())
    await world.connect()
    await world.accepted(issue("job"))
    for number in range(2):
        await answer_next(world, number, Answered("Accepted"))
    await world.until(lambda: len(world.orders) > 2)
    assert isinstance(world.orders[2].body, ObtainCsr)


async def tell_facts(world: LedgerWorld, facts: FleetFacts) -> None:
    await world.log.append(fact(v.FleetFactsChanged(facts=facts), ""), PARTITION)


async def answer_next(world: LedgerWorld, number: int, outcome: Answered) -> None:
    await world.until(lambda: len(world.orders) > number, f"order {number}")
    order = world.orders[number]
    key = {
        "instruction_id": order.instruction_id,
        "decision": order.decision,
        "session_id": order.session_id,
    }
    if not is_repeatable(order.body):
        await world.tell(v.InstructionSent(**key))  # type: ignore[arg-type]
    await world.tell(v.InstructionAnswered(outcome=outcome, **key))  # type: ignore[arg-type]


async def test_an_order_that_waits_out_its_back_off_is_sent_when_that_is_over(world: LedgerWorld) -> None:
    world.start()
    await to_trigger(world)
    await answer_next(world, 2, Answered("Rejected"))
    await world.until(lambda: world.stored().jobs["job"].failures == 1)
    await world.quiet()
    assert len(world.orders) == 3
    world.time.now_s += 6
    await world.until(lambda: len(world.orders) == 4, "the trigger after its back-off")


async def test_after_a_ring_that_decided_nothing_the_clock_rings_again(world: LedgerWorld) -> None:
    world.start()
    await to_trigger(world)
    await answer_next(world, 2, Answered("Rejected"))
    await world.until(lambda: world.stored().jobs["job"].failures == 1)
    world.time.now_s += 6
    await answer_next(world, 3, Answered("Accepted"))
    await world.until(lambda: not world.stored().instructions)
    world.time.now_s += 200
    await world.until(lambda: world.stored().jobs["job"].failures == 2, "the CSR is missed")


async def test_deadlines_of_the_last_owner_ring_at_the_next(world: LedgerWorld) -> None:
    first = world.start()
    await to_trigger(world)
    await answer_next(world, 2, Answered("Accepted"))
    await world.until(lambda: not world.stored().instructions)
    await first.stop()
    world.time.now_s += 200
    world.start(owner="core-2")
    await world.until(lambda: world.stored().jobs["job"].failures == 1)


async def test_a_new_policy_reaches_chargers_without_jobs(world: LedgerWorld) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.until(lambda: world.record())
    override = PolicyOverride(scope="purpose:charging_station", values={"subject_match": "contains"})
    policies = PolicySet(version=2, overrides=(override,))
    await tell_facts(world, msgspec.structs.replace(fleet_facts(), sequence=2, policies=policies))
    await world.until(lambda: (record := world.record()) and record.subject_match == "contains")
    assert "AdmissionRuleChanged" in world.names()


async def test_a_policy_that_came_just_before_the_take_over_reaches_them_too(world: LedgerWorld) -> None:
    first = world.start()
    await world.accepted(registration())
    await first.stop()
    override = PolicyOverride(scope="purpose:charging_station", values={"subject_match": "contains"})
    facts = FleetFacts(sequence=5, policies=PolicySet(version=2, overrides=(override,)))
    lease = await world.store.claim(PARTITION, "core-0", timedelta(seconds=1))
    assert lease is not None
    row = AggregateRow(FACTS_KEY, 5, msgspec.json.encode(facts))
    await world.store.commit(
        lease, Batch(evidence_position=0, fleet_position=5, aggregates=[row]), timedelta(seconds=1)
    )
    await world.store.release(lease)
    world.start(owner="core-2")
    await world.until(lambda: world.stored().subject_match == "contains")


# ---------------------------------------------------------------- what is announced


async def test_a_new_owner_says_again_who_may_connect_and_what_is_wanted_of_them(world: LedgerWorld) -> None:
    first = world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    await world.accepted(issue("job"))
    await world.until(lambda: len(world.orders) == 2)
    await first.stop()
    world.nats.admission.clear()
    world.orders.clear()
    world.start(owner="core-2")
    await world.until(lambda: world.record() and len(world.orders) == 2)


async def test_an_order_not_known_as_sent_is_given_again_and_one_that_is_known_is_not(
    world: LedgerWorld,
) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    await world.accepted(issue("job"))
    await world.until(lambda: len(world.orders) == 2)
    sent = world.orders[0]
    await world.tell(
        v.InstructionSent(instruction_id=sent.instruction_id, decision=1, session_id=sent.session_id)
    )
    await world.until(lambda: world.stored().instructions[sent.instruction_id].sent_session)
    await world.quiet()
    assert len(world.orders) == 2
    world.time.now_s += 16
    await world.until(lambda: len(world.orders) == 3)
    await world.quiet()
    assert world.orders[2] == world.orders[1]


async def test_an_order_that_may_be_lost_with_the_connection_is_given_again_at_once(
    world: LedgerWorld,
) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    await world.accepted(issue("job"))
    await world.until(lambda: len(world.orders) == 2)
    world.nats.away = True
    world.nats.away = False
    await world.until(lambda: len(world.orders) == 4)
    await world.quiet()
    assert world.orders[2:] == world.orders[:2]


async def test_an_order_that_waits_for_its_answer_is_not_given_again_with_every_commit(
    world: LedgerWorld,
) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    await world.accepted(issue("job"))
    await world.until(lambda: len(world.orders) == 2)
    given = list(world.orders)
    await answer_next(world, 0, Answered("Accepted"))
    await world.until(lambda: len(world.stored().instructions) == 1)
    await world.quiet()
    assert world.orders == given


async def test_orders_and_admissions_wait_until_nats_is_back(world: LedgerWorld) -> None:
    world.start()
    await world.teach()
    await world.accepted(registration())
    await world.connect()
    await world.until(lambda: "ChargerSessionOpened" in world.names())
    world.store.open.clear()
    asking = asyncio.create_task(world.ask(issue("job")))
    await world.until(lambda: world.store.waiting)
    world.nats.away = True
    world.store.open.set()
    await asking
    await world.quiet()
    assert world.orders == []
    world.nats.away = False
    await world.until(lambda: len(world.orders) == 2)


async def test_an_older_session_at_another_node_is_told_to_close(world: LedgerWorld) -> None:
    world.start()
    await world.accepted(registration())
    await world.connect(session_id="s1")
    await world.connect(session_id="s2", node="n2")
    await world.until(lambda: world.orders)
    assert world.orders[0].session_id == "s1"


async def test_sessions_of_a_lost_node_end_also_when_they_opened_a_moment_before(world: LedgerWorld) -> None:
    owner = world.start()
    await world.accepted(registration())
    await owner.stop()
    await world.tell(opening("s1"))
    lost = v.NodeLost(node="n1", incarnation="i1")
    await world.log.append(fact(lost, ""), PARTITION)
    world.start()
    await world.until(lambda: world.store._partitions[PARTITION].evidence_position == 2)
    assert world.stored().session is None


# ---------------------------------------------------------------- the outbox


async def test_events_are_published_once_from_where_the_last_owner_stopped(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.start()
    world.nats.away = False
    await world.accepted(registration())
    await world.until(lambda: world.store._partitions[PARTITION].outbox_position == 1)
    await first.stop()
    lease = await world.store.claim(PARTITION, "core-0", timedelta(seconds=1))
    assert lease is not None
    assert lease.outbox_position == 1
    await world.store.release(lease)
    published: list[int] = []
    publish = world.outbox.publish_events

    async def noting(rows: list[EventRow]) -> None:
        published.extend(row.sequence for row in rows)
        await publish(rows)

    monkeypatch.setattr(world.outbox, "publish_events", noting)
    world.start(owner="core-2")
    await world.accepted(issue("job"))
    everything = len(world.store.events[PARTITION])
    await world.until(lambda: world.store._partitions[PARTITION].outbox_position == everything)
    assert [row.sequence for row in world.nats.events.values()] == list(range(1, everything + 1))
    assert published == list(range(2, everything + 1))


async def test_more_events_than_are_kept_in_memory_are_read_back_in_order(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing_event, "KEPT", 6)
    monkeypatch.setattr(outgoing_event, "PAGE", 4)
    published: list[int] = []
    publish = world.outbox.publish_events
    gate = asyncio.Event()

    async def slowly(rows: list[EventRow]) -> None:
        await gate.wait()
        published.extend(row.sequence for row in rows)
        await publish(rows)

    monkeypatch.setattr(world.outbox, "publish_events", slowly)
    world.start()
    await world.accepted(registration())
    for number in range(30):
        await world.tell(v.SecurityEventReported(session_id="s", event_type=f"E{number}", charger_time="t"))
        await world.until(lambda seen=number: world.names().count("SecurityEventRecorded") == seen + 1)
    gate.set()
    await world.until(lambda: world.store._partitions[PARTITION].outbox_position == 31)
    assert published == list(range(1, 32))


# ---------------------------------------------------------------- the fleet partition


async def test_what_the_fleet_decides_reaches_every_other_partition_and_the_gateways(
    world: LedgerWorld,
) -> None:
    world.start(FLEET)
    world.start()
    await world.accepted(registration())
    pause = c.SetSupervisorState(kind="family", name="acme-one", action="pause", reason="recall")
    await world.accepted(pause, FLEET)
    await world.until(lambda: world.store._partitions[PARTITION].fleet_position == 1)
    await world.until(lambda: b"recall" in world.nats.control.get("pauses", b""))
    await world.accepted(issue("job"))
    assert world.stored().jobs["job"].held_by == "family/acme-one"
    resume = c.SetSupervisorState(kind="family", name="acme-one", action="resume", reason="fixed")
    await world.accepted(resume, FLEET)
    await world.until(lambda: world.stored().jobs["job"].held_by != "family/acme-one")


async def test_facts_that_could_not_be_told_are_told_by_the_next_owner(world: LedgerWorld) -> None:
    first = world.start(FLEET)
    await world.accepted(c.SetPolicy(scope="purpose:charging_station", values={"max_attempts": 2}), FLEET)
    await first.stop()
    for stream in world.nats.evidence.values():
        stream.clear()
    world.nats.evidence_ids.clear()
    world.start(FLEET, owner="core-2")
    await world.until(lambda: all(world.nats.evidence[n] for n in range(1, 16)))
