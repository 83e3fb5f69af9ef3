"""One charger on two connect nodes: real gateways, doors and actors, the real ledger's decisions; NATS and rows in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from actors.charger import ChargerPorts
from actors.charger_door import Door
from actors.ledger.actor import LedgerActor
from actors.ledger.ports import Ports
from bfactors import evidence as v
from bfactors.command import CommandEnvelope, RegisterCharger
from bfactors.identity import partition_of
from bfactors.identity_rule import verify_with
from deploy.role.clock import SystemClock
from gateways.ocpp.server import Gateway
from gateways.ocpp.tls import FrontTls
from tests.actors.charger_world import Numbers, OneLane
from tests.fakes.ledger_store import FakeLedgerStore
from tests.fakes.nats import (
    InMemoryCommandDoor,
    InMemoryEvidenceLog,
    InMemoryEvidenceReader,
    InMemoryInstructionInbox,
    InMemoryNats,
    InMemoryOutbox,
    InMemoryRelay,
)
from tests.fakes.nats_views import InMemoryAdmissionView
from tests.integration.gateway_world import (
    HOST,
    PASSWORD,
    PEPPER,
    Reports,
    World,
    answer,
    ask,
    key_of,
    new_world,
)
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.uvloop

CHARGER = "CS-1"
PARTITION = partition_of(CHARGER)


class Node:
    """A connect node."""

    def __init__(self, name: str, nats: InMemoryNats, tls: FrontTls) -> None:
        clock, metrics = SystemClock(), Numbers()
        self.admission = InMemoryAdmissionView(nats)
        ports = ChargerPorts(
            evidence=InMemoryEvidenceLog(nats), relay=InMemoryRelay(nats), clock=clock, metrics=metrics
        )
        self.door = Door(ports, OneLane(), InMemoryInstructionInbox(nats, name), self.admission)
        self.gateway = Gateway(
            node=name,
            incarnation=f"{name}-incarnation",
            tls=tls,
            admission=self.admission,
            door=self.door,
            reporter=Reports(),
            clock=clock,
            metrics=metrics,
            verify_key=verify_with({"p1": PEPPER}),
        )

    async def start(self) -> None:
        self.admission.start()
        await self.gateway.start(HOST)

    async def stop(self) -> None:
        await self.gateway.stop()
        await self.admission.stop()


class Fleet:
    """Two nodes and the owner of the charger's partition."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nats = InMemoryNats()
        self.store = FakeLedgerStore()
        tls = FrontTls(world.server_identities(), [world.root.pair.pem])
        self.nodes = (Node("node-1", self.nats, tls), Node("node-2", self.nats, tls))
        self.failures: list[BaseException] = []
        self.ledger = LedgerActor(
            PARTITION,
            "core-1",
            Ports(
                store=self.store,
                reader=InMemoryEvidenceReader(self.nats),
                commands=InMemoryCommandDoor(self.nats),
                outbox=InMemoryOutbox(self.nats),
                evidence_log=InMemoryEvidenceLog(self.nats),
                effects=lambda effect_id, effect: None,
                clock=SystemClock(),
                metrics=Numbers(),
                ocpp_url=lambda: "wss://localhost/ocpp",
            ),
        )

    async def start(self) -> None:
        self.ledger.start(lambda actor, error, message: self.failures.append(error))
        for node in self.nodes:
            await node.start()
        await self.until(lambda: PARTITION in self.nats.handlers)
        command = RegisterCharger(
            charger_id=CHARGER,
            managed_identity_id="mi-1",
            serial_number="SN-1",
            family="acme",
            site="depot",
            cohort="pilot",
            security_profile=2,
            target_security_profile=2,
            organization=None,
            expected_common_name=None,
            ocpp_versions=("2.0.1",),
            key=key_of(PASSWORD),
            key_origin="given",
        )
        envelope = CommandEnvelope(command_id="c-1", actor="test", role="operator", body=command)
        registered = await InMemoryCommandDoor(self.nats).request(PARTITION, envelope)
        assert registered.refusal is None
        await self.until(lambda: all(node.admission.get(CHARGER) for node in self.nodes))

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()
        await self.ledger.stop()
        assert not self.failures

    def dial(self, node: Node) -> object:
        self.world.gateway = node.gateway
        return self.world.dial_basic(CHARGER)

    @staticmethod
    async def until(holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - many actors' doing, without an event of its own
                await asyncio.sleep(0)

    def facts(self, kind: type[v.EvidenceBody]) -> list[v.EvidenceBody]:
        """What the evidence stream holds of a kind, in order."""
        bodies = [msgspec.json.decode(raw, type=v.Evidence).body for _, raw in self.nats.evidence[PARTITION]]
        return [body for body in bodies if isinstance(body, kind)]

    def events(self) -> list[str]:
        return [row.event for row in self.store.events[PARTITION] if "Session" in row.event]


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(new_world(tmp_path))
    await fleet.start()
    yield fleet
    await fleet.stop()


async def booted(socket: ClientConnection) -> None:
    station = {"vendorName": "V", "model": "M", "serialNumber": "SN-1"}
    await ask(socket, [2, "b", "BootNotification", {"reason": "PowerUp", "chargingStation": station}])
    assert (await answer(socket))[2]["status"] == "Accepted"


@pytest.mark.parametrize("has_booted", [True, False])
async def test_a_newer_session_on_another_node_has_the_older_one_closed_which_ends_only_itself(
    fleet: Fleet, has_booted: bool
) -> None:
    first_node, second_node = fleet.nodes
    async with fleet.dial(first_node) as older:
        if has_booted:
            await booted(older)
        await fleet.until(lambda: len(fleet.events()) == 1)
        async with fleet.dial(second_node) as newer:
            async with asyncio.timeout(PATIENCE_S):
                await older.wait_closed()
            assert (older.close_code, older.close_reason) == (1000, "replaced by a newer session")
            first, second = (body.session_id for body in fleet.facts(v.SessionOpened))
            await fleet.until(lambda: fleet.facts(v.SessionClosed))
            [closed] = fleet.facts(v.SessionClosed)
            assert closed.session_id == first
            await booted(newer)
            assert fleet.store.chargers[CHARGER].incarnation == "node-2-incarnation"
            assert fleet.events() == ["ChargerSessionOpened", "ChargerSessionOpened"]
        await fleet.until(lambda: len(fleet.events()) == 3)
    assert fleet.events()[-1] == "ChargerSessionClosed"
    assert [body.session_id for body in fleet.facts(v.SessionClosed)] == [first, second]
    assert not fleet.store.chargers[CHARGER].connected


async def test_a_session_opened_while_the_other_was_already_over_displaces_nobody(fleet: Fleet) -> None:
    first_node, second_node = fleet.nodes
    async with fleet.dial(first_node) as older:
        await booted(older)
    await fleet.until(lambda: len(fleet.events()) == 2)
    async with fleet.dial(second_node) as newer:
        await booted(newer)
        await fleet.until(lambda: len(fleet.events()) == 3)
        assert fleet.facts(v.InstructionSent) == []
