"""Chargers' actors on real lanes under real supervisors: frames cross threads, and one family's trouble stays its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from actors.charger import ChargerPorts
from actors.charger_berth import Post
from actors.charger_door import Door
from actors.mailbox import Mailbox
from bfactors import evidence as v
from bfactors.instruction import InstructionOrder
from bfactors.ocpp import BootReply, CsrPresented, CsrReply, HeartbeatSent
from bfactors.subject import instruction
from supervisors.child import ChildNotice, Lost, Refused
from supervisors.hop import Hop
from supervisors.lane import Lane
from supervisors.tree import Tree
from tests.actors.charger_world import Admission, FakeSession, ManualTime, Numbers
from tests.core.exchange_bench import BOOT, order, record, session_info
from tests.fakes.nats import InMemoryEvidenceLog, InMemoryInstructionInbox, InMemoryNats, InMemoryRelay
from tests.patience import PATIENCE_S


class FamilyLanes:
    """The door's `Lanes` over the supervision tree, as the composition root builds it."""

    def __init__(self, tree: Tree, io_lane: Lane) -> None:
        self._tree = tree
        self._io_lane = io_lane
        self._hops: dict[Lane, Hop[Callable[[], object]]] = {}

    def place(
        self,
        family: str,
        name: str,
        make: Callable[[Post], Mailbox[Any]],
        lost: Callable[[str], object],
    ) -> None:
        def heard(notice: ChildNotice) -> None:
            if isinstance(notice, Lost | Refused):
                lost(notice.reason)

        self._tree.family(family).start_child(name, lambda lane: make(self._post_to(lane)), heard)

    def release(self, family: str, name: str) -> None:
        self._tree.family(family).stop_child(name)

    def _post_to(self, lane: Lane) -> Post:
        hop = self._hops.get(lane)
        if hop is None:
            # Bounded by the frames every berth may be ahead, so this capacity is never reached.
            hop = self._hops[lane] = Hop(lane, lambda call: call(), source=self._io_lane, capacity=1 << 20)
        return hop.put


class PickyLog(InMemoryEvidenceLog):
    """Breaks on one charger's CSR; notes which threads it was used from."""

    def __init__(self, nats: InMemoryNats) -> None:
        super().__init__(nats)
        self.threads: set[str] = set()
        self.breaks_on = ""

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        self.threads.add(threading.current_thread().name)
        if evidence.charger_id == self.breaks_on and isinstance(evidence.body, v.CsrReceived):
            raise ValueError("a defect")
        await super().append(evidence)


class RealNode:
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        io_lane = Lane.adopt("io", loop)
        nats = InMemoryNats()
        self.log = PickyLog(nats)
        self.tree = Tree(exit_process=lambda _: None, io_lane=io_lane, tick_interval_s=None)
        time = ManualTime()
        ports = ChargerPorts(
            evidence=self.log,
            relay=InMemoryRelay(nats),
            clock=time,
            metrics=Numbers(),
            schedule=time.schedule,
        )
        lanes = FamilyLanes(self.tree, io_lane)
        self.inbox = InMemoryInstructionInbox(nats, "node-1")
        self.door = Door(ports, lanes, self.inbox, Admission(), to_io=io_lane.submit)

    def connect(self, family: str, number: int) -> FakeSession:
        charger_id = f"{family}-{number}"
        info = session_info(f"s-{charger_id}", record=record(charger_id=charger_id, family=family))
        session = FakeSession(info, self.door)
        self.door.opened(session)
        return session


def order_for(session: FakeSession) -> InstructionOrder:
    info = session.info
    return order(1, charger_id=info.charger_id, session_id=info.session_id)


async def until(condition: Callable[[], object]) -> None:
    """Wait for what other threads bring about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition is other threads' doing and has no event
            await asyncio.sleep(0)


@pytest.fixture
async def node() -> AsyncIterator[RealNode]:
    node = RealNode()
    yield node
    assert await node.tree.stop(PATIENCE_S)


async def test_a_hundred_chargers_of_two_families_are_served_on_their_families_lanes(node: RealNode) -> None:
    sessions = [node.connect(family, number) for family in ("acme", "zeta") for number in range(50)]
    for session in sessions:
        session.call(BOOT, "1")
        session.call(CsrPresented("charging_station", "MIIB"), "2")
    await until(lambda: all(len(session.replies) == 2 for session in sessions))
    assert all(isinstance(session.replies["1"], BootReply) for session in sessions)
    assert all(session.replies["2"] == CsrReply(accepted=True) for session in sessions)
    assert len(node.log.threads) == 2
    assert threading.current_thread().name not in node.log.threads
    for session in sessions:
        session.drop()
    async with asyncio.timeout(PATIENCE_S):
        await node.door.emptied()


async def test_a_charger_whose_actor_fails_is_let_go_and_its_family_does_not_feel_it(node: RealNode) -> None:
    node.log.breaks_on = "acme-0"
    sessions = [node.connect("acme", number) for number in range(5)]
    for session in sessions:
        session.call(BOOT, "1")
        session.call(CsrPresented("charging_station", "MIIB"), "2")
    await until(lambda: not sessions[0].is_open)
    assert sessions[0].closes[0] == (1011, "actor-restarted")
    for session in sessions[1:]:
        session.call(HeartbeatSent(), "3")
    await until(lambda: all(len(session.replies) == 3 for session in sessions[1:]))
    assert all(session.is_open for session in sessions[1:])
    for session in sessions:
        session.drop()
    async with asyncio.timeout(PATIENCE_S):
        await node.door.emptied()


async def test_a_drained_family_lets_its_chargers_go_and_the_other_keeps_its_own(node: RealNode) -> None:
    acme, zeta = node.connect("acme", 1), node.connect("zeta", 1)
    for session in (acme, zeta):
        session.call(BOOT, "1")
    await until(lambda: acme.replies and zeta.replies)
    node.tree.apply_drain("family", "acme", "new firmware line")
    await until(lambda: not acme.is_open)
    assert acme.closes[0] == (1012, "draining")
    zeta.call(HeartbeatSent(), "2")
    await until(lambda: "2" in zeta.replies)
    zeta.drop()
    async with asyncio.timeout(PATIENCE_S):
        await node.door.emptied()


async def test_a_paused_family_is_answered_and_sent_nothing_new(node: RealNode) -> None:
    node.tree.apply_pause("family", "acme", True, "firmware under suspicion")
    session = node.connect("acme", 1)
    session.call(BOOT, "1")
    session.call(CsrPresented("charging_station", "MIIB"), "2")
    node.inbox.receive(instruction("node-1", session.info.session_id), order_for(session))
    session.call(HeartbeatSent(), "3")
    await until(lambda: len(session.replies) == 3)
    assert session.calls == []
    node.tree.apply_pause("family", "acme", False, "cleared")
    await until(lambda: session.calls)
    session.drop()
    async with asyncio.timeout(PATIENCE_S):
        await node.door.emptied()


async def test_thousands_of_frames_from_one_charger_arrive_in_order_with_reading_held_and_resumed(
    node: RealNode,
) -> None:
    session = node.connect("acme", 1)
    session.call(BOOT, "boot")
    await until(lambda: session.replies)

    def has_resumed(before: int) -> bool:
        return session.resumed > before

    sent = 0
    while sent < 2000:
        resumed = session.resumed
        sent += 1
        if not session.call(HeartbeatSent(), str(sent)):
            await until(partial(has_resumed, resumed))
    await until(lambda: len(session.sent) == 2001)
    answered = [frame.message_id for frame in session.sent[1:]]
    assert answered == [str(number) for number in range(1, 2001)]
    assert session.resumed > 10
    session.drop()
    async with asyncio.timeout(PATIENCE_S):
        await node.door.emptied()
