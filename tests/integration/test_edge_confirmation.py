"""What core concludes from gateways' signs of life: when every one of them refuses what was revoked."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from bfactors.admission import AdmissionPlace
from bfactors.evidence import Evidence, RefusalConfirmed
from bfactors.identity import partition_of
from deploy.role.edge_confirmation import EdgeConfirmations
from gateways.nats.presence import Presence
from tests.actors.charger_world import ManualTime
from tests.fakes.nats import InMemoryEvidenceLog, InMemoryNats

BUCKET = "made-today"


class World:
    """Core's view of a few nodes."""

    def __init__(self) -> None:
        self.nats = InMemoryNats()
        self.time = ManualTime()
        self.nodes: dict[str, Presence] | None = {}
        self.edge = EdgeConfirmations(
            InMemoryEvidenceLog(self.nats), self.time, asyncio.get_running_loop(), self._alive
        )

    def _alive(self) -> list[Presence] | None:
        return None if self.nodes is None else list(self.nodes.values())

    def said(self, node: str, position: int | None, bucket: str = BUCKET) -> None:
        """A node's sign of life; None: it holds no records yet."""
        assert self.nodes is not None
        place = None if position is None else AdmissionPlace(bucket, position)
        self.nodes[node] = Presence(node=node, incarnation=f"{node}-1", admission=place)
        self.edge.look()

    def lost(self, node: str) -> None:
        assert self.nodes is not None
        del self.nodes[node]
        self.edge.look()

    async def expect(self, charger_id: str, revision: int, position: int) -> None:
        self.edge.expect(charger_id, revision, AdmissionPlace(BUCKET, position))
        await settled()

    async def confirmed(self, charger_id: str = "CP-1") -> list[tuple[int, tuple[str, ...]]]:
        await settled()
        found = []
        for _, raw in self.nats.evidence[partition_of(charger_id)]:
            evidence = msgspec.json.decode(raw, type=Evidence)
            assert isinstance(evidence.body, RefusalConfirmed)
            if evidence.charger_id == charger_id:
                found.append((evidence.body.revision, evidence.body.nodes))
        return found


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_is_confirmed_once_the_last_node_has_read_that_far() -> None:
    world = World()
    world.said("a", 9)
    world.said("b", 9)
    await world.expect("CP-1", 5, 10)
    world.said("a", 12)
    assert await world.confirmed() == []
    world.said("b", 10)
    assert await world.confirmed() == [(5, ("a", "b"))]
    world.said("b", 11)
    assert len(await world.confirmed()) == 1
    assert len(world.edge) == 0


async def test_nodes_that_were_ahead_confirm_it_at_once() -> None:
    world = World()
    world.said("a", 10)
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == [(5, ("a",))]


async def test_a_lost_node_is_not_waited_for() -> None:
    world = World()
    world.said("a", 10)
    world.said("b", 3)
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == []
    world.lost("b")
    assert await world.confirmed() == [(5, ("a",))]


async def test_a_node_that_holds_no_records_lets_nobody_in_and_is_not_waited_for() -> None:
    world = World()
    world.said("a", 10)
    world.said("new", None)
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == [(5, ("a",))]


async def test_nothing_is_concluded_before_the_nodes_are_known() -> None:
    world = World()
    world.nodes = None
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == []
    world.nodes = {}
    world.edge.look()
    assert await world.confirmed() == [(5, ())]


async def test_a_position_in_an_older_bucket_means_nothing_in_the_new_one() -> None:
    world = World()
    world.said("a", 5000, bucket="made-yesterday")
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == []
    world.said("a", 10)
    assert len(await world.confirmed()) == 1


async def test_a_node_of_an_older_version_does_not_confirm_by_its_silence() -> None:
    world = World()
    assert world.nodes is not None
    world.nodes["old"] = msgspec.json.decode(b'{"node": "old", "incarnation": "i"}', type=Presence)
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == []


async def test_of_two_records_of_a_charger_the_newer_confirms_both() -> None:
    world = World()
    world.said("a", 1)
    await world.expect("CP-1", 5, 10)
    await world.expect("CP-1", 7, 12)
    world.said("a", 10)
    assert await world.confirmed() == []
    world.said("a", 12)
    assert await world.confirmed() == [(7, ("a",))]


async def test_evidence_waits_while_nats_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr("deploy.role.edge_confirmation.RETRY_S", 0)
    world.said("a", 10)
    world.nats.away = True
    await world.expect("CP-1", 5, 10)
    assert await world.confirmed() == []
    world.nats.away = False
    assert await world.confirmed() == [(5, ("a",))]
    await world.edge.stop()
