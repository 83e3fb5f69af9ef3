"""The charger's actor: the exchange rules carried out on ports, with NATS away and back, and stopped at any moment."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc

import pytest

from actors.mailbox import MailboxState
from bfactors import evidence as v
from bfactors.errors import Unavailable
from bfactors.exchange.message import OrderArrived, SessionEnded, Tick
from bfactors.instruction import CloseSession, ObtainCsr
from bfactors.ocpp import (
    Answered,
    BootReply,
    CallErrorReply,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    Disconnected,
    HeartbeatReply,
    HeartbeatSent,
    Relayed,
    Silent,
)
from tests.actors.charger_world import FakeSession, Node, settle
from tests.core.exchange_bench import BOOT, order, record, session_info
from tests.patience import PATIENCE_S

CSR = CsrPresented("charging_station", "MIIB")


class HangingLog:
    """An evidence log that neither stores nor fails until told."""

    def __init__(self) -> None:
        self.asked: list[v.Evidence] = []
        self.is_cancelled = False
        self.go_on = asyncio.Event()

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        self.asked.append(evidence)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


class SilentLog(HangingLog):
    """One that never says anything about the first piece."""

    def __init__(self) -> None:
        super().__init__()
        self.gave_up = asyncio.Event()

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        try:
            await super().append(evidence)
        except asyncio.CancelledError:
            self.go_on.set()
            self.gave_up.set()
            raise


async def test_a_log_that_never_answers_is_given_up_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.charger._PORT_WAIT_S", 0.01)
    log = SilentLog()
    node = Node(log=log)
    await node.connect()
    async with asyncio.timeout(PATIENCE_S):
        await log.gave_up.wait()
    await settle()
    assert [type(evidence.body) for evidence in log.asked] == [v.SessionOpened]
    await node.time.advance(1)
    assert [type(evidence.body) for evidence in log.asked] == [v.SessionOpened] * 2
    assert node.lanes.failures == []


async def test_a_charger_boots_presents_a_csr_gets_its_leaf_and_goes() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1, body=ObtainCsr("charging_station")))
    assert isinstance(session.replies["1"], BootReply)
    session.answer()
    session.call(CSR, "2")
    await settle()
    assert session.replies["2"] == CsrReply(accepted=True)
    session.drop()
    await settle()
    assert node.kinds == [
        "SessionOpened",
        "BootReported",
        "InstructionSent",
        "InstructionAnswered",
        "CsrReceived",
        "SessionClosed",
    ]
    assert node.lanes.released == ["s-1"]
    assert node.lanes.actors == {}


async def test_with_nats_away_the_charger_is_served_what_needs_no_nats_and_refused_what_does() -> None:
    node = Node()
    node.nats.away = True
    session = await node.connect()
    session.call(BOOT, "1")
    session.call(HeartbeatSent(), "2")
    session.call(Relayed("StatusNotification", b"{}"), "3")
    session.call(CSR, "4")
    await node.time.advance(9)
    assert isinstance(session.replies["1"], BootReply)
    assert isinstance(session.replies["2"], HeartbeatReply)
    assert session.replies["3"] == DefaultReply()
    assert "4" not in session.replies
    await node.time.advance(1)
    assert isinstance(session.replies["4"], CallErrorReply)
    assert session.closes == []
    assert node.recorded == []


async def test_what_nats_missed_is_stored_when_it_returns_in_the_order_it_happened() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1))
    node.nats.away = True
    session.answer()
    await settle()
    session.drop()
    await node.time.advance(120)
    assert "InstructionAnswered" not in node.kinds
    node.nats.away = False
    node.door.restate()
    await settle()
    assert node.kinds[-2:] == ["InstructionAnswered", "SessionClosed"]
    assert node.lanes.actors == {}


async def test_without_being_told_that_nats_is_back_it_is_found_out() -> None:
    node = Node()
    node.nats.away = True
    await node.connect()
    await node.time.advance(300)
    node.nats.away = False
    await node.time.advance(40)
    assert node.kinds == ["SessionOpened"]


async def test_an_order_never_leaves_while_nats_is_away() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await settle()
    node.nats.away = True
    await node.send_order(order(1))
    await node.time.advance(100)
    assert session.calls == []
    node.nats.away = False
    await node.time.advance(40)
    assert len(session.calls) == 1


async def test_silence_is_recorded_by_the_clock() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1, answer_wait_s=30))
    await node.time.advance(29)
    assert "InstructionAnswered" not in node.kinds
    await node.time.advance(1)
    body = node.recorded[-1]
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Silent()


async def test_a_close_session_order_closes_the_socket_and_everything_is_recorded() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1, body=CloseSession("renewed")))
    await settle()
    assert session.closes == [(1000, "renewed")]
    answered, closed = node.recorded[-2:]
    assert isinstance(answered, v.InstructionAnswered)
    assert answered.outcome == Answered("Closed")
    assert closed == v.SessionClosed(session_id="s-1", reason="renewed")


async def test_a_session_lost_with_a_call_outstanding_records_it_as_unknown() -> None:
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    await node.send_order(order(1))
    session.drop()
    await settle()
    body = node.recorded[-2]
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Disconnected()


async def test_an_append_that_hangs_does_not_hold_the_mailbox() -> None:
    log = HangingLog()
    node = Node(log=log)
    session = await node.connect()
    for number in range(30):
        session.call(HeartbeatSent(), str(number))
    await settle()
    assert len(session.replies) == 30
    assert len(log.asked) == 1


async def test_the_end_of_a_session_and_a_tick_are_not_lost_to_a_full_mailbox() -> None:
    node = Node()
    node.nats.away = True
    await node.connect()
    actor = node.actor()
    while actor.tell(Tick()):
        pass
    [timer] = node.time.timers
    timer.callback()
    assert [timer] != node.time.timers
    assert node.time.timers[-1].at_s > node.time.now_s
    assert actor.accept(SessionEnded("connection-lost"))
    assert not actor.accept(OrderArrived(order(1)))
    node.nats.away = False
    await node.time.advance(5)
    assert node.kinds == ["SessionOpened", "SessionClosed"]


async def test_a_stopped_actor_cancels_its_append_and_its_timer_and_does_nothing_more() -> None:
    log = HangingLog()
    node = Node(log=log)
    session = await node.connect()
    session.call(CSR, "1")
    await settle()
    assert node.time.pending == 1
    actor = node.actor()
    await actor.stop()
    assert log.is_cancelled
    assert node.time.pending == 0
    log.go_on.set()
    await settle()
    assert session.sent == []


async def test_a_cancelled_append_counts_as_not_stored_and_is_tried_again() -> None:
    class CancellingLog:
        asked = 0

        async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
            self.asked += 1
            if self.asked == 1:
                raise asyncio.CancelledError  # what a closing client's futures do to whoever waits on them

    log = CancellingLog()
    node = Node(log=log)
    await node.connect()
    await node.time.advance(5)
    assert log.asked == 2
    assert node.lanes.failures == []


async def test_a_defect_in_a_port_fails_the_actor_and_the_charger_is_let_go() -> None:
    class OnceBrokenLog:
        def __init__(self) -> None:
            self.asked = 0
            self.stored: list[v.Evidence] = []

        async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
            self.asked += 1
            if self.asked == 1:
                raise ValueError("a defect")
            self.stored.append(evidence)

    log = OnceBrokenLog()
    node = Node(log=log)
    session = await node.connect()
    assert [type(error) for error in node.lanes.failures] == [ValueError]
    assert session.closes == [(1011, "actor-restarted")]
    assert [type(e.body).__name__ for e in log.stored] == ["SessionOpened", "SessionClosed"]
    assert node.lanes.actors == {}


async def test_a_drained_actor_lets_the_charger_go_and_records_that_before_it_stops() -> None:
    node = Node()
    session = await node.connect()
    actor = node.actor()
    await actor.drain()
    assert session.closes == [(1012, "draining")]
    assert node.kinds == ["SessionOpened", "SessionClosed"]
    assert actor.state is MailboxState.STOPPED


async def test_an_abandoned_actor_that_wakes_up_says_nothing_more() -> None:
    node = Node()
    session = await node.connect()
    actor = node.actor()
    session.call(HeartbeatSent(), "1")
    actor.abandon()
    await settle()
    assert session.sent == []


async def test_an_actor_abandoned_within_a_handler_carries_out_nothing_of_it() -> None:
    node = Node()
    session = await node.connect()
    actor = node.actor()

    def now_abandons() -> float:
        actor.abandon()
        return 5000.0

    node.time.monotonic = now_abandons  # type: ignore[method-assign]
    session.call(HeartbeatSent(), "1")
    await settle()
    assert session.sent == []


async def test_exchanges_are_counted_and_logged_once_each_without_their_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "actors.charger")
    node = Node()
    session = await node.connect()
    session.call(BOOT, "1")
    session.call(CSR, "2")
    await node.send_order(order(1))
    session.answer()
    await settle()
    counts = node.numbers.counts
    assert counts["bf_exchanges_total", "action=BootNotified", "direction=in", "outcome=answered"] == 1
    assert counts["bf_exchanges_total", "action=reboot", "direction=out", "outcome=answered"] == 1
    assert [name for name, _ in node.numbers.observed] == ["bf_exchange_seconds"] * 3
    lines = [entry for entry in caplog.records if entry.getMessage() == "exchange"]
    assert [line.__dict__["action"] for line in lines] == [
        "BootNotified",
        "CsrPresented",
        "reboot",
    ]
    assert all("MIIB" not in str(line.__dict__) for line in lines)


async def test_waiting_evidence_is_a_number_that_returns_to_nought() -> None:
    node = Node()
    node.nats.away = True
    session = await node.connect()
    session.call(BOOT, "1")
    await settle()
    assert node.numbers.gauges["bf_evidence_buffered",] == 2
    node.nats.away = False
    node.door.restate()
    await settle()
    assert node.numbers.gauges["bf_evidence_buffered",] == 0


async def test_an_idle_actor_has_no_task_and_no_timer_and_costs_less_than_ten_kilobytes() -> None:
    node = Node()
    infos = [session_info(f"s-{n}", record=record(charger_id=f"CH-{n}")) for n in range(300)]
    tasks_before = len(asyncio.all_tasks())
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    sessions = [FakeSession(info, node.door) for info in infos]
    for session in sessions:
        node.door.opened(session)
        session.call(BOOT, "1")
    for session in sessions:
        for number in range(8):
            session.call(HeartbeatSent(), f"a-heartbeat-with-an-id-of-36-chars-{number}")
        await settle()
        session.sent.clear()
    # What the fakes remember is not the actors'.
    for stream in node.nats.evidence.values():
        stream.clear()
    node.nats.evidence_ids.clear()
    node.numbers.observed.clear()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(node.lanes.actors) == len(infos)
    assert len(asyncio.all_tasks()) == tasks_before
    assert node.time.pending == 0
    assert (after - before) / len(infos) < 10_000


async def test_a_port_that_is_away_is_not_a_failure() -> None:
    class AwayLog:
        async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
            raise Unavailable("NATS", "stream is full")

    node = Node(log=AwayLog())
    await node.connect()
    await node.time.advance(60)
    assert node.lanes.failures == []


class Decider:
    """Another part of BetterFleet; None: it is away."""

    def __init__(self, word: bytes | None) -> None:
        self.word = word
        self.asked: list[tuple[str, str, str, bytes]] = []

    async def ask(self, charger_id: str, action: str, message_id: str, payload: bytes) -> bytes:
        self.asked.append((charger_id, action, message_id, payload))
        if self.word is None:
            raise Unavailable("the deciding service")
        return self.word


async def test_authorize_is_answered_as_another_part_of_betterfleet_decides() -> None:
    decider = Decider(b"yes")
    node = Node(decisions=decider)
    session = await node.connect()
    session.call(BOOT, "1")
    session.call(DecisionAsked("Authorize", b"{}"), "2")
    await settle()
    assert decider.asked == [("CH-1", "Authorize", "2", b"{}")]
    assert session.replies["2"] == DecidedReply(b"yes")


@pytest.mark.parametrize("decider", [None, Decider(None)])
async def test_authorize_gets_the_default_when_nobody_decides(decider: Decider | None) -> None:
    node = Node(decisions=decider)
    session = await node.connect()
    session.call(DecisionAsked("Authorize", b"{}"), "2")
    await settle()
    assert session.replies["2"] == DefaultReply()
