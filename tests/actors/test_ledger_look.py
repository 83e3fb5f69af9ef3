"""A change that concerns everybody: looked at a few at a time, in turns, between everything else, to the end."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actors.ledger import actor
from actors.ledger import term as term_room
from actors.ledger.item import Rang
from actors.ledger.look_turn import LookTurn, of_loop
from actors.ledger.scan import Scanner
from actors.ledger.term import Term
from bfactors import evidence as v
from bfactors.admission import AdmissionPlace, AdmissionRecord
from bfactors.incident import Incident
from bfactors.ledger_row import Batch, Lease
from bfactors.policy import PolicyOverride, PolicySet
from tests.actors.ledger_world import PARTITION, LedgerWorld, chargers_of
from tests.actors.test_former import strike, struck
from tests.core import pki
from tests.core.ledger import fact, registration
from tests.core.world import ARN, fleet_facts

MANY = 70
OTHER = PARTITION % 15 + 1


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "TICK_S", 0.005)
    monkeypatch.setattr(actor, "CLAIM_AGAIN_S", 0.005)


@pytest.fixture
async def world() -> AsyncIterator[LedgerWorld]:
    made = LedgerWorld()
    yield made
    await made.stop()
    assert made.failures == []


async def fleet(world: LedgerWorld, partition: int = PARTITION) -> list[str]:
    """Many chargers of one partition, all at rest."""
    names = chargers_of(partition, MANY)
    await world.teach(partition)
    await asyncio.gather(*(world.accepted(registration(name), partition) for name in names))
    await world.quiet()
    return names


async def rule(
    world: LedgerWorld, partition: int = PARTITION, sequence: int = 2, *incidents: Incident
) -> None:
    """A policy by which every charger's admission record is another."""
    override = PolicyOverride(scope="purpose:charging_station", values={"subject_match": "contains"})
    facts = replace(
        fleet_facts(),
        sequence=sequence,
        policies=PolicySet(version=2, overrides=(override,)),
        incidents={one.incident_id: one for one in incidents},
    )
    await world.log.append(fact(v.FleetFactsChanged(facts=facts), "", f"facts-{sequence}"), partition)


def looked(batch: Batch) -> int:
    return sum(row.event == "AdmissionRuleChanged" for row in batch.events)


def all_looked_at(world: LedgerWorld, partition: int = PARTITION) -> bool:
    rows = world.store.events[partition]
    return sum(row.event == "AdmissionRuleChanged" for row in rows) == MANY


async def test_each_commit_looks_at_a_few_and_together_they_look_at_all(world: LedgerWorld) -> None:
    world.start()
    await fleet(world)
    await rule(world)
    await world.until(lambda: all_looked_at(world))
    sizes = [looked(batch) for batch in world.store.commits if looked(batch)]
    assert max(sizes) <= actor.LOOKS_AT_ONCE
    assert len(sizes) >= MANY / actor.LOOKS_AT_ONCE


async def test_what_comes_meanwhile_waits_for_one_commit_at_most(world: LedgerWorld) -> None:
    world.start()
    names = await fleet(world)
    world.store.open.clear()
    await rule(world)
    await world.until(lambda: world.store.waiting)
    world.store.open.set()
    await world.until(lambda: any(looked(batch) for batch in world.store.commits))
    world.store.open.clear()
    await world.until(lambda: world.store.waiting)
    before = len(world.store.commits)
    told = await world.tell(
        v.ConnectionRefused(reason="x", http_status=401, remote_address="192.0.2.1"), names[-1], "probe"
    )
    await world.quiet()
    world.store.open.set()
    await world.until(lambda: (PARTITION, told.evidence_id) in world.store.inbox)
    [at] = [number for number, batch in enumerate(world.store.commits) if told.evidence_id in batch.inbox]
    assert at <= before + 1, "behind the commit in hand, before the others"
    assert looked(world.store.commits[at]) == 0, "and with nobody else's work in its own"
    assert not all_looked_at(world)
    await world.until(lambda: all_looked_at(world))


async def test_an_owner_that_ends_in_the_middle_is_followed_by_one_that_looks_at_all(
    world: LedgerWorld,
) -> None:
    first = world.start()
    await fleet(world)
    await rule(world)
    await world.until(lambda: any(looked(batch) for batch in world.store.commits))
    await first.stop()
    world.actors.remove(first)
    assert not all_looked_at(world)
    world.start(owner="core-2")
    await world.until(lambda: all_looked_at(world))


async def test_a_second_change_in_the_middle_reaches_everybody_too(world: LedgerWorld) -> None:
    world.start()
    names = await fleet(world)
    await rule(world)
    await world.until(lambda: any(looked(batch) for batch in world.store.commits))
    facts = replace(fleet_facts(), sequence=3, policies=PolicySet(version=3, overrides=()))
    await world.log.append(fact(v.FleetFactsChanged(facts=facts), "", "facts-3"), PARTITION)
    await world.until(
        lambda: (
            world.store.aggregates[PARTITION, "fleet-facts"].version == 3
            and all(world.stored(name).subject_match == "exact" for name in names)
        )
    )


async def test_partitions_of_one_node_look_in_turns(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    world.start(OTHER)
    await fleet(world)
    await fleet(world, OTHER)
    at_once = most = 0
    commit = world.store.commit

    async def watched(lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        nonlocal at_once, most
        at_once += bool(looked(batch))
        most = max(most, at_once)
        for _ in range(5):
            await asyncio.sleep(0)
        try:
            return await commit(lease, batch, duration)
        finally:
            at_once -= bool(looked(batch))

    monkeypatch.setattr(world.store, "commit", watched)
    await rule(world)
    await rule(world, OTHER)
    await world.until(lambda: all_looked_at(world) and all_looked_at(world, OTHER))
    assert most == 1


async def test_a_change_that_changes_no_record_says_none_again(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    await fleet(world)
    said: list[str] = []
    put = world.outbox.put_admission

    async def heard(records: Iterable[AdmissionRecord]) -> AdmissionPlace:
        told = list(records)
        said.extend(record.charger_id for record in told)
        return await put(told)

    monkeypatch.setattr(world.outbox, "put_admission", heard)
    facts = replace(fleet_facts(), sequence=2, policies=PolicySet(version=2, overrides=()))
    await world.log.append(fact(v.FleetFactsChanged(facts=facts), "", "facts-2"), PARTITION)
    await world.until(lambda: world.store.aggregates[PARTITION, "fleet-facts"].version == 2)
    await world.quiet()
    assert said == []


def struck_rows(world: LedgerWorld) -> int:
    return sum(row.event == "CertificateInIncident" for row in world.store.events[PARTITION])


async def test_what_an_incident_refuses_waits_for_nobody_elses_look(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.start()
    names = await fleet(world)
    last = max(names)
    seen = v.CertificateSeenAtCa(
        purpose="charging_station",
        authority_arn=ARN,
        external_ref=f"{ARN}/certificate/1",
        chain_pem=pki.ca().sign(pki.csr(f"SN-{last}"), pki.BEGIN, pki.END),
        issued_at=pki.BEGIN,
        revoked_at=None,
        revocation_reason=None,
        report_ref="r",
        report_at=world.time.now(),
        ledger_state="superseded",
    )
    await world.tell(seen, last, "seen")
    await world.until(lambda: world.store.certificates)
    monkeypatch.setattr(Term, "has_time_to_look", property(lambda _: False))  # nobody's turn ever comes
    await rule(world)
    await rule(world, PARTITION, 3, struck())
    await world.until(lambda: struck_rows(world) == 1)
    [row] = [row for row in world.store.events[PARTITION] if row.event == "AdmissionRuleChanged"]
    assert row.charger_id == last, "of all that are behind, the one"


async def test_a_new_owner_refuses_first_too(world: LedgerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    for name in ("look", "refuse"):

        async def begun(_: Scanner, __: Term, name: str = name, **___: bool) -> None:
            asked.append(name)

        monkeypatch.setattr(Scanner, name, begun)
    world.start()
    await world.until(lambda: asked)
    assert asked == ["look"], "nothing is refused"
    asked.clear()
    await strike(world, struck())
    await world.until(lambda: asked)
    assert asked == ["refuse"], "and the look that was begun goes on"
    asked.clear()
    await world.actors.pop().stop()
    world.start(owner="core-2")
    await world.until(lambda: len(asked) == 2)
    assert asked == ["refuse", "look"]


def test_a_commit_refuses_a_few_more_beside_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term_room, "REFUSALS_AT_ONCE", 2)
    nobody: Any = None
    term = Term(1, nobody, nobody, nobody, nobody)
    term.pending.append(Rang("busy", pki.BEGIN))
    term.look_at("behind", pki.BEGIN)
    term.refusals |= {f"CP-{number}": pki.BEGIN for number in range(3)}
    first, second = term.next_items(500, 0), term.next_items(500, 1)
    assert [item.charger_id for item in first if isinstance(item, Rang)] == ["busy", "CP-0", "CP-1"]
    assert [item.charger_id for item in second if isinstance(item, Rang)] == ["CP-2", "behind"]


def test_where_something_always_comes_one_commit_in_a_few_looks_all_the_same() -> None:
    nobody: Any = None
    term = Term(1, nobody, nobody, nobody, nobody)
    for number in range(6):
        term.look_at(f"CP-{number}", pki.BEGIN)
        term.look_at(f"CP-{number}", pki.END)  # once, since the first time
    looks = []
    while term.looks:
        term.pending.append(Rang("busy", pki.BEGIN))
        items = term.next_items(500, 2 if term.has_time_to_look else 0)
        looks.append(len(items) - 1)
        assert items[0] == Rang("busy", pki.BEGIN)
    assert looks == [0, 0, 0, 2] * 3


# ---------------------------------------------------------------- turns


def test_turns_go_round_in_the_order_in_which_they_were_asked_for() -> None:
    turn, came = LookTurn(), list[str]()

    def ask(who: str) -> bool:
        return turn.take(who, lambda: came.append(who))

    assert ask("a")
    assert ask("a"), "still its own"
    assert not ask("b")
    assert not ask("c")
    turn.leave("a")
    assert came == ["b"]
    assert not ask("a"), "nobody gets in between"
    assert ask("b")
    turn.leave("c")  # gone while it waited
    turn.leave("b")
    assert came == ["b", "a"]
    turn.leave("x")
    assert ask("a")
    turn.leave("a")
    assert ask("d")


async def test_each_loop_has_turns_of_its_own() -> None:
    loop: Any = asyncio.get_running_loop()
    assert of_loop(loop) is of_loop(loop)
    other = asyncio.new_event_loop()
    assert of_loop(other) is not of_loop(loop)
    other.close()


async def test_partitions_that_always_have_something_to_commit_come_to_their_looks_all_the_same(
    world: LedgerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that comes while a commit is in hand is kept until it can be used."""
    partitions = range(1, 9)
    names = {}
    for partition in partitions:
        world.start(partition)
        names[partition] = await fleet(world, partition)
    commit, numbers = world.store.commit, iter(range(1_000_000))

    async def busy(lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        body = v.ConnectionRefused(reason="x", http_status=401, remote_address="192.0.2.1")
        name = names[lease.partition][0]
        await world.log.append(fact(body, name, f"busy-{next(numbers)}"), lease.partition)
        for _ in range(60):
            await asyncio.sleep(0)
        return await commit(lease, batch, duration)

    monkeypatch.setattr(world.store, "commit", busy)
    for partition in partitions:
        await rule(world, partition)
    for partition in partitions:
        await world.until(lambda partition=partition: all_looked_at(world, partition))  # type: ignore[misc]
    monkeypatch.setattr(world.store, "commit", commit)
