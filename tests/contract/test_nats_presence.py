"""Connect nodes' presence over a real server: who renews lives, who lapses or leaves is reported once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from bfactors import subject
from bfactors.admission import AdmissionPlace
from deploy.embedded import EmbeddedNats
from gateways.nats.layout import NatsLayout
from gateways.nats.node_watch import NodeWatch
from gateways.nats.ordered_stream import OrderedStream
from gateways.nats.presence import NodePresence, _wait_or_time
from tests.fakes.killable_nats import both_connected, kill, killable_server, killable_side
from tests.fakes.nats_sides import JetStreamSide, Seen, empty
from tests.patience import PATIENCE_S

TTL_S = 2.0
"""A node that is not let run for so long is lost: on a crowded machine that must not happen by itself."""
RENEW_S = 0.1


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    with killable_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def side(killable: EmbeddedNats) -> AsyncIterator[JetStreamSide]:
    async with killable_side(killable, NatsLayout(node_ttl=timedelta(seconds=TTL_S))) as jetstream:
        yield jetstream


class Watched:
    """A node watch and what it said."""

    def __init__(self, side: JetStreamSide, ttl_s: float = TTL_S) -> None:
        self.lost, self.present = Seen(), Seen()
        self.watch = NodeWatch(
            side.core.connection,
            side.core.replies,
            lost=lambda lost: self.lost.add(lost.node, lost.incarnation),
            present=lambda presence: self.present.add(presence.incarnation),
            ttl_s=ttl_s,
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
    await watched.present.until_count(renewals + round(1.5 * TTL_S / RENEW_S))
    assert watched.lost == [("node", "dies")]
    assert [presence.incarnation for presence in watched.watch.nodes] == ["lives"]
    await living.leave()
    await watched.watch.stop()


async def test_what_is_nobodys_presence_is_passed_over(
    side: JetStreamSide, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(side)
    for subject_, payload in (
        ("bf.node.short", b"{}"),
        ("bf.node.=FF.i", b"{}"),
        ("bf.node.node.i", b"not json"),
        ("bf.node.node.j", b'{"node":"another","incarnation":"j"}'),
    ):
        await side.connect.connection.publish(subject_, payload)
    node = a_node(side, "lives")
    await watched.present.until_count(1)
    assert watched.present[0] == "lives"
    for said in ("nobody's presence", "unreadable", "names another one"):
        assert said in caplog.text
    await node.leave()
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


async def test_a_node_that_begins_to_let_chargers_in_says_so_soon(side: JetStreamSide) -> None:
    places = Seen()
    watch = NodeWatch(
        side.core.connection,
        side.core.replies,
        lost=lambda _: None,
        present=lambda presence: places.add(presence.admission),
    )
    watch.start()
    presence = NodePresence(
        side.connect.connection, side.connect.publisher, "node", "one", renew_every_s=3600
    )
    presence.start()
    await places.until_count(1)
    presence.admits_by(AdmissionPlace("bucket", 7), is_news=False)
    await places.until_count(2)
    assert places == [None, AdmissionPlace("bucket", 7)]
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


class HeldRenewals:
    """Lets a node renew as it likes, until held."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    async def wait(self, now: asyncio.Event, longest_s: float) -> None:
        await _wait_or_time(now, longest_s)
        await self.free.wait()


async def marked(side: JetStreamSide, *incarnations: str) -> None:
    """Return once the server has marked these as lapsed."""
    batches = OrderedStream(
        side.core.connection, side.core.replies, subject.STREAM_NODE, start="last-per-subject"
    ).batches()
    missing = {subject.node("node", incarnation) for incarnation in incarnations}
    async with asyncio.timeout(PATIENCE_S):
        async for batch in batches:
            missing -= {each.subject for each in batch.messages if "Nats-Marker-Reason" in each.headers}
            if not missing:
                break
    await batches.aclose()


async def test_after_an_outage_longer_than_the_ttl_only_those_who_stay_silent_are_lost(
    killable: EmbeddedNats, side: JetStreamSide
) -> None:
    watched = Watched(side, ttl_s=3 * TTL_S)
    watched.watch.compare([("node", "never was")])
    held = HeldRenewals()
    living = NodePresence(
        side.connect.connection,
        side.connect.publisher,
        "node",
        "lives",
        renew_every_s=RENEW_S,
        wait=held.wait,
    )
    living.start()
    dying = a_node(side, "dies")
    await watched.present.until(lambda seen: {"lives", "dies"} <= set(seen))
    await watched.lost.until_count(1)  # from now on the watch believes what it sees
    held.free.clear()
    await kill(killable, side)
    await crash(dying)
    killable.restart()
    await both_connected(side)
    await marked(side, "lives", "dies")  # for the server both have lapsed
    held.free.set()
    await watched.lost.until_count(2)
    renewals = len(watched.present)
    await watched.present.until_count(renewals + round(TTL_S / RENEW_S))
    assert watched.lost == [("node", "never was"), ("node", "dies")]
    await living.leave()
    await watched.watch.stop()


async def test_a_node_that_dies_while_nats_loses_its_store_is_lost_as_well(side: JetStreamSide) -> None:
    watched = Watched(side)
    living, dying = a_node(side, "lives"), a_node(side, "dies")
    await watched.present.until(lambda seen: {"lives", "dies"} <= set(seen))
    await crash(dying)
    await empty(side.core)  # there will never be a mark of its lapse
    await side.core.ensure_layout(NatsLayout(node_ttl=timedelta(seconds=TTL_S)))
    await watched.lost.until_count(1)
    assert watched.lost == [("node", "dies")]
    await living.leave()
    await watched.watch.stop()


async def test_a_node_found_lapsed_at_the_start_of_a_watch_may_still_come_back(side: JetStreamSide) -> None:
    first, other = a_node(side, "lives"), a_node(side, "other")
    before = Watched(side)
    await before.present.until(lambda seen: {"lives", "other"} <= set(seen))
    await crash(first)
    await marked(side, "lives")
    watched = Watched(side, ttl_s=2 * TTL_S)
    await watched.present.until(lambda seen: "other" in seen)  # which is behind the mark
    again = a_node(side, "lives")
    await watched.present.until(lambda seen: seen.count("lives") > 2.5 * TTL_S / RENEW_S)
    assert watched.lost == []
    for node in (again, other):
        await node.leave()
    for each in (before, watched):
        await each.watch.stop()
