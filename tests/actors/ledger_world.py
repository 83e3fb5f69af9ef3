"""Owners of partitions on one loop: store and NATS are fakes, the clock is moved by hand, ticks are quick."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from actors.ledger.actor import LedgerActor, Ports
from actors.mailbox import Mailbox
from bfactors import command as c
from bfactors import evidence as v
from bfactors.admission import AdmissionRecord
from bfactors.charger.state import ChargerState
from bfactors.effect import Effect
from bfactors.errors import Unavailable
from bfactors.identity import partition_of
from bfactors.instruction import InstructionOrder
from bfactors.ledger_fold import charger_key
from bfactors.ledger_row import Batch, Lease
from bfactors.ports import Checkpointing, EdgeWatch
from bfactors.refusal import Refusal
from tests.actors.charger_world import ManualTime
from tests.core.ledger import asked, fact, opening
from tests.core.world import fleet_facts
from tests.fakes.ledger_store import FakeLedgerStore
from tests.fakes.nats import (
    InMemoryCommandDoor,
    InMemoryEvidenceLog,
    InMemoryEvidenceReader,
    InMemoryInstructionInbox,
    InMemoryNats,
    InMemoryOutbox,
)
from tests.patience import PATIENCE_S

PARTITION = partition_of("CP-1")


def chargers_of(partition: int, count: int, other_than: str = "") -> list[str]:
    """Names of chargers that live in a partition."""
    names = (f"CP-{number}" for number in range(1, 10_000))
    found = [name for name in names if partition_of(name) == partition and name != other_than]
    return found[:count]


class Metrics:
    """Nobody looks."""

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None: ...
    def gauge(self, name: str, value: float, **labels: str) -> None: ...
    def observe(self, name: str, value: float, **labels: str) -> None: ...


class Store(FakeLedgerStore):
    """The fake store, with a gate before every commit and values it refuses."""

    def __init__(self, time: ManualTime) -> None:
        super().__init__(time.now)
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        self.refuse: Callable[[Batch], BaseException | None] = lambda _: None

    async def commit(self, lease: Lease, batch: Batch, duration: Any) -> Lease:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        error = self.refuse(batch)
        if error is not None:
            raise error
        return await super().commit(lease, batch, duration)


class LedgerWorld:
    """One store, one NATS, and as many core nodes as a test makes."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.store = Store(self.time)
        self.nats = InMemoryNats()
        self.door = InMemoryCommandDoor(self.nats)
        self.log = InMemoryEvidenceLog(self.nats)
        self.outbox = InMemoryOutbox(self.nats)
        self.actors: list[LedgerActor] = []
        self.checkpoints: Checkpointing | None = None
        self.edge: EdgeWatch | None = None
        self.effects: dict[str, dict[str, Effect]] = {}
        self.failures: list[BaseException] = []
        self.orders: list[InstructionOrder] = []
        self._inbox = InMemoryInstructionInbox(self.nats, "n1")
        self._commands = 0

    # ------------------------------------------------------------ nodes

    def start(self, partition: int = PARTITION, owner: str = "core-1") -> LedgerActor:
        effects = self.effects.setdefault(owner, {})

        def take(effect_id: str, effect: Effect | None) -> None:
            if effect is None:
                effects.pop(effect_id, None)
            else:
                effects[effect_id] = effect

        ports = Ports(
            store=self.store,
            reader=InMemoryEvidenceReader(self.nats),
            commands=self.door,
            outbox=self.outbox,
            evidence_log=self.log,
            effects=take,
            clock=self.time,
            metrics=Metrics(),
            ocpp_url=lambda: "wss://csms.example/ocpp",
            checkpoints=self.checkpoints,
            edge=self.edge,
        )
        actor = LedgerActor(partition, owner, ports)
        actor.start(self._failed)
        self.actors.append(actor)
        return actor

    def _failed(self, actor: Mailbox[Any], error: BaseException, message: object) -> None:
        self.failures.append(error)

    async def stop(self) -> None:
        self.store.open.set()
        for actor in self.actors:
            await actor.stop()

    # ------------------------------------------------------------ what arrives

    async def ask(self, body: c.Command, partition: int = PARTITION, **fields: Any) -> c.CommandAnswer:
        """Send a command until the partition's owner is there; retries of its own it leaves to the test."""
        self._commands += 1
        envelope = asked(body, f"c{self._commands}", **fields)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.door.request(partition, envelope)
                except Unavailable:
                    await asyncio.sleep(0)

    async def insist(self, body: c.Command, partition: int = PARTITION, **fields: Any) -> c.CommandAnswer:
        """As a client does: the same command again as long as the answer is to come again."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                answer = await self.ask(body, partition, **fields)
                if not answer.retry:
                    return answer
                await asyncio.sleep(0)

    async def accepted(self, body: c.Command, partition: int = PARTITION, **fields: Any) -> Any:
        answer = await self.insist(body, partition, **fields)
        assert answer.refusal is None, answer.refusal
        return msgspec.json.decode(answer.result)

    async def refused(self, body: c.Command, partition: int = PARTITION, **fields: Any) -> Refusal:
        answer = await self.insist(body, partition, **fields)
        assert answer.refusal is not None
        return answer.refusal

    async def tell(self, body: v.EvidenceBody, charger_id: str = "CP-1", name: str = "") -> v.Evidence:
        evidence = fact(body, charger_id, name)
        await self.log.append(evidence, partition_of(charger_id) if charger_id else None)
        return evidence

    async def teach(self, partition: int = PARTITION) -> None:
        """Tell the partition the facts of a fleet that issues."""
        facts = msgspec.structs.replace(fleet_facts(), sequence=1)
        await self.log.append(fact(v.FleetFactsChanged(facts=facts), ""), partition)

    async def connect(self, charger_id: str = "CP-1", session_id: str = "s1", **fields: Any) -> None:
        """A session opens, and its orders are collected."""
        self._inbox.listen(session_id, self.orders.append)
        await self.tell(opening(session_id, **fields), charger_id)

    # ------------------------------------------------------------ what can be seen

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Let everything run until it holds."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    if condition():
                        return
                    await asyncio.sleep(0)
        except TimeoutError:
            raise AssertionError(f"never happened: {what or condition}") from None

    async def quiet(self) -> None:
        """Let what is ready run, a few ticks included."""
        ticks = 0
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def ticked() -> None:
            nonlocal ticks
            ticks += 1
            if ticks == 3:
                done.set_result(None)
            else:
                loop.call_later(0.01, ticked)

        ticked()
        await done

    def state(self, charger_id: str = "CP-1") -> ChargerState | None:
        row = self.store.aggregates.get((partition_of(charger_id), charger_key(charger_id)))
        return None if row is None else msgspec.json.decode(row.state, type=ChargerState)

    def stored(self, charger_id: str = "CP-1") -> ChargerState:
        state = self.state(charger_id)
        assert state is not None
        return state

    def record(self, charger_id: str = "CP-1") -> AdmissionRecord | None:
        held = self.nats.admission.get(charger_id)
        return None if held is None else msgspec.json.decode(held, type=AdmissionRecord)

    def names(self, partition: int = PARTITION) -> list[str]:
        return [row.event for row in self.store.events[partition]]
