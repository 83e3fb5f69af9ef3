"""The chargers' door: which session is the live one, what displaces it, and how a flood is held back."""

from __future__ import annotations

from bfactors import evidence as v
from bfactors.instruction import CloseSession
from bfactors.ocpp import HeartbeatReply, HeartbeatSent
from tests.actors.charger_world import FakeSession, Node, settle
from tests.core.exchange_bench import BOOT, order, record, session_info


async def test_a_newer_session_replaces_the_older_one_and_each_records_its_own_end() -> None:
    node = Node()
    first = await node.connect("s-1")
    second = await node.connect("s-2")
    assert first.closes == [(1000, "replaced")]
    assert second.closes == []
    second.call(HeartbeatSent(), "1")
    await settle()
    assert isinstance(second.replies["1"], HeartbeatReply)
    closed = [body for body in node.recorded if isinstance(body, v.SessionClosed)]
    assert closed == [v.SessionClosed(session_id="s-1", reason="replaced")]
    assert node.door.open_sessions == 1


async def test_the_end_of_a_replaced_half_open_session_does_not_end_its_successor() -> None:
    node = Node()
    first = await node.connect("s-1")
    first.is_half_open = True
    second = await node.connect("s-2")
    second.call(BOOT, "b")
    first.drop()
    await settle()
    await node.send_order(order(1, session_id="s-2"))
    assert len(second.calls) == 1
    node.admission.put(record(mode="refused", revision=9))
    await settle()
    assert second.closes == [(1008, "charger-refused")]


async def test_more_than_three_displacements_in_ten_minutes_are_a_duplicate_identity() -> None:
    node = Node()
    for number in range(4):
        await node.connect(f"s-{number}")
        await node.time.advance(60)
    assert not [body for body in node.recorded if isinstance(body, v.SecurityEventReported)]
    await node.connect("s-4", remote_address="198.51.100.9")
    [event] = [body for body in node.recorded if isinstance(body, v.SecurityEventReported)]
    assert (event.event_type, event.session_id) == ("DuplicateIdentity", "s-4")
    assert "198.51.100.9" in (event.tech_info or "")
    await node.connect("s-5")
    assert len([body for body in node.recorded if isinstance(body, v.SecurityEventReported)]) == 1


async def test_displacements_spread_over_a_longer_time_are_nothing_special() -> None:
    node = Node()
    for number in range(12):
        await node.connect(f"s-{number}")
        await node.time.advance(240)
    assert not [body for body in node.recorded if isinstance(body, v.SecurityEventReported)]


async def test_a_charger_that_reconnects_after_its_session_ended_displaces_nobody() -> None:
    node = Node()
    for number in range(9):
        session = await node.connect(f"s-{number}")
        session.drop()
        await settle()
    assert not [body for body in node.recorded if isinstance(body, v.SecurityEventReported)]


async def test_orders_reach_the_session_they_are_addressed_to_until_it_ends() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "b")
    await node.send_order(order(1))
    assert len(session.calls) == 1
    session.drop()
    await settle()
    assert node.inbox.forgotten == ["s-1"]
    await node.send_order(order(2))
    assert len(session.calls) == 1


async def test_a_record_that_changed_between_admission_and_opening_counts() -> None:
    node = Node()
    node.admission.records["CH-1"] = record(mode="refused", revision=3)
    session = await node.connect()
    await settle()
    assert session.closes == [(1008, "charger-refused")]


async def test_a_flood_of_frames_is_held_back_and_reading_resumes_when_it_is_worked_off() -> None:
    node = Node()
    session = await node.connect()
    taken = [session.call(HeartbeatSent(), str(number)) for number in range(20)]
    assert taken == [True] * 16 + [False] * 4
    assert session.resumed == 0
    await settle()
    assert len(session.replies) == 20
    assert session.resumed == 1
    assert session.call(HeartbeatSent(), "after")


async def test_a_gateway_that_does_not_stop_reading_loses_the_session_not_the_memory() -> None:
    node = Node()
    session = await node.connect()
    for number in range(500):
        session.call(HeartbeatSent(), str(number))
    assert (1008, "flood") in session.closes
    assert node.actor().depth <= 64
    await settle()
    assert node.lanes.actors == {}


async def test_a_charger_held_back_when_its_actor_fails_is_read_again_so_that_it_can_be_let_go() -> None:
    node = Node()
    session = FakeSession(session_info(), node.door)
    node.door.opened(session)
    for number in range(17):
        session.call(HeartbeatSent(), str(number))
    node.lanes.restart("s-1")
    assert session.resumed == 1
    assert session.call(HeartbeatSent(), "more")
    await settle()
    assert session.closes == [(1011, "actor-restarted")]


async def test_frames_that_come_before_the_actor_is_placed_are_kept() -> None:
    node = Node()
    placed = []
    place = node.lanes.place
    node.lanes.place = lambda *arguments: placed.append(arguments)  # type: ignore[method-assign]
    session = FakeSession(session_info(), node.door)
    node.door.opened(session)
    session.call(BOOT, "1")
    session.call(HeartbeatSent(), "2")
    place(*placed[0])
    await settle()
    assert set(session.replies) == {"1", "2"}


async def test_an_actor_given_up_closes_its_socket_and_is_forgotten() -> None:
    class BrokenLog:
        async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
            raise ValueError("a defect")

    node = Node(log=BrokenLog())
    node.lanes.is_giving_up = True
    session = await node.connect()
    await settle()
    assert session.closes == [(1012, "gave up")]
    assert node.door.open_sessions == 0
    await node.door.emptied()


async def given_up(node: Node) -> FakeSession:
    """A session whose actor has failed once too often, with the log at hand or away."""
    session = await node.connect()
    session.call(BOOT, "1")
    await settle()
    node.lanes.is_giving_up = True
    node.lanes.break_down("s-1", ValueError("a defect"))
    await settle()
    return session


async def test_the_end_of_a_session_whose_actor_is_given_up_is_recorded_once() -> None:
    node = Node()
    session = await given_up(node)
    assert session.closes == [(1012, "gave up")]
    assert node.kinds == ["SessionOpened", "BootReported", "SessionClosed"]
    assert node.recorded[-1] == v.SessionClosed(session_id="s-1", reason="gave up")
    await node.door.emptied()
    other = Node()
    (await other.connect()).drop("gave up")
    await settle()
    ids = [e.evidence_id for e in (node.evidence[-1], other.evidence[-1])]
    assert ids[0] == ids[1], "as the actor itself would have recorded it"


async def test_the_end_of_a_given_up_session_waits_for_nats_however_long_it_takes() -> None:
    node = Node()
    node.nats.away = True
    await given_up(node)
    await node.time.advance(120)
    assert node.kinds == []
    node.nats.away = False
    node.door.restate()
    await settle()
    assert node.kinds == ["SessionClosed"]
    await node.door.emptied()


async def test_without_being_told_that_nats_is_back_a_given_up_session_is_still_recorded() -> None:
    node = Node()
    node.nats.away = True
    await given_up(node)
    node.nats.away = False
    await node.time.advance(10)
    assert node.kinds == ["SessionClosed"]


async def test_a_node_that_does_not_know_what_is_paused_starts_nothing_but_cuts_and_serves() -> None:
    node = Node(is_blind=True)
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1))
    assert set(session.replies) == {"1"}
    assert session.calls == []
    other = await node.connect("s-2", record=record(charger_id="CH-2"))
    await node.send_order(order(2, charger_id="CH-2", session_id="s-2", body=CloseSession("renewed")))
    assert other.closes == [(1000, "renewed")]
    node.door.sees(())
    await node.send_order(order(1))
    assert len(session.calls) == 1


async def test_no_order_overtakes_the_first_news_of_a_pause() -> None:
    node = Node(is_blind=True)
    session = await node.connect()
    session.call(BOOT, "1")
    free = await node.connect("s-2", record=record(charger_id="CH-2", family="zeta"))
    free.call(BOOT, "1")
    node.door.sees({"acme-x"})
    await node.send_order(order(1))
    await node.send_order(order(2, charger_id="CH-2", session_id="s-2"))
    assert session.calls == []
    assert len(free.calls) == 1
    node.actor().set_paused(False)
    await settle()
    assert len(session.calls) == 1


async def test_sessions_are_counted_by_family_and_profile_and_the_deepest_mailbox_by_family() -> None:
    node = Node()
    first = await node.connect("s-1")
    await node.connect("s-2", record=record(charger_id="CH-2"), security_profile=2)
    gauges = node.numbers.gauges
    assert gauges["bf_sessions", "family=acme-x", "profile=3"] == 1
    assert gauges["bf_sessions", "family=acme-x", "profile=2"] == 1
    for number in range(5):
        first.call(HeartbeatSent(), str(number))
    await settle()
    assert gauges["bf_mailbox_depth_max", "family=acme-x"] == 5
    first.drop()
    await settle()
    assert gauges["bf_sessions", "family=acme-x", "profile=3"] == 0


async def test_the_door_is_empty_once_every_session_has_ended_and_its_evidence_is_stored() -> None:
    node = Node()
    await node.door.emptied()
    session = await node.connect()
    node.nats.away = True
    session.drop()
    await settle()
    assert node.door.open_sessions == 0
    assert node.lanes.actors
    node.nats.away = False
    await node.time.advance(40)
    await node.door.emptied()
