"""Connect nodes' presence over a real server: who renews lives, who lapses or leaves is reported once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deploy.embedded import DataDirectory, EmbeddedNats
from gateways.nats.layout import NatsLayout
from gateways.nats.node_watch import NodeWatch
from gateways.nats.presence import NodePresence
from tests.fakes.nats_sides import DEADLINE_S, JetStreamSide, Seen, jetstream_side

TTL_S = 0.6
RENEW_S = 0.1


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    with DataDirectory.open(Path(tmp_path_factory.mktemp("nats")) / "data") as data:
        server = EmbeddedNats.start(data, durable=False)
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
async def side(killable: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with jetstream_side(killable, NatsLayout(node_ttl=timedelta(seconds=TTL_S))) as jetstream:
        yield jetstream


class Watched:
    """A node watch and what it said."""

    def __init__(self, side: JetStreamSide) -> None:
        self.lost, self.present = Seen(), Seen()
        self.watch = NodeWatch(
            side.core.connection,
            side.core.replies,
            lost=lambda lost: self.lost.add(lost.node, lost.incarnation),
            present=lambda presence: self.present.add(presence.incarnation),
            ttl_s=TTL_S,
            heartbeat_s=0.2,
        )
        self.watch.start()


def a_node(side: JetStreamSide, incarnation: str) -> NodePresence:
    presence = NodePresence(
        side.connect.connection, side.connect.publisher, "node", incarnation, renew_every_s=RENEW_S
    )
    presence.start()
    return presence


async def crash(presence: NodePresence) -> None:
    """End as a killed process does: without a word."""
    assert presence._task is not None
    presence._task.cancel()
    await asyncio.wait({presence._task})


async def test_a_node_that_renews_lives_and_one_that_stops_is_lost_once(side: JetStreamSide) -> None:
    watched = Watched(side)
    living, dying = a_node(side, "lives"), a_node(side, "dies")
    await watched.present.until(lambda seen: {"lives", "dies"} <= set(seen))
    await crash(dying)
    await watched.lost.until_count(1)
    renewals = len(watched.present)
    await watched.present.until_count(renewals + 3 * round(TTL_S / RENEW_S))
    assert watched.lost == [("node", "dies")]
    assert [presence.incarnation for presence in watched.watch.nodes] == ["lives"]
    await living.leave()
    await watched.watch.stop()


async def test_a_node_that_leaves_is_lost_at_once(side: JetStreamSide) -> None:
    watched = Watched(side)
    leaving = a_node(side, "leaves")
    await watched.present.until_count(1)
    await leaving.leave()
    await watched.lost.until_count(1)
    assert watched.lost == [("node", "leaves")]
    await watched.watch.stop()


async def test_trust_is_told_at_once_when_it_changes(side: JetStreamSide) -> None:
    trust = Seen()
    watch = NodeWatch(
        side.core.connection,
        side.core.replies,
        lost=lambda _: None,
        present=lambda presence: trust.add(presence.trust),
    )
    watch.start()
    presence = NodePresence(
        side.connect.connection, side.connect.publisher, "node", "one", renew_every_s=3600
    )
    presence.start()
    await trust.until_count(1)
    presence.trust(("aa", "bb"))
    await trust.until(lambda seen: ("aa", "bb") in seen)
    await presence.leave()
    await watch.stop()


async def test_at_take_over_incarnations_that_do_not_live_are_lost(side: JetStreamSide) -> None:
    living = a_node(side, "lives")
    watched = Watched(side)
    watched.watch.compare([("node", "lives"), ("node", "long gone")])
    await watched.lost.until_count(1)
    assert watched.lost == [("node", "long gone")]
    await living.leave()
    await watched.watch.stop()


async def test_an_outage_of_nats_longer_than_the_ttl_loses_no_living_node(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    watched = Watched(side)
    living, dying = a_node(side, "lives"), a_node(side, "dies")
    await watched.present.until(lambda seen: {"lives", "dies"} <= set(seen))
    os.kill(killable.pid, signal.SIGKILL)
    await crash(dying)
    lapsed = asyncio.Event()
    asyncio.get_running_loop().call_later(2 * TTL_S, lapsed.set)
    await lapsed.wait()  # the outage itself is what is tested
    killable.restart()
    async with asyncio.timeout(DEADLINE_S):
        await side.connect.connected()
        await side.core.connected()
    await watched.lost.until_count(1)
    renewals = len(watched.present)
    await watched.present.until_count(renewals + round(TTL_S / RENEW_S))
    assert watched.lost == [("node", "dies")]
    await living.leave()
    await watched.watch.stop()
