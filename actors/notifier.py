"""The notifier: goes through the published events once in the whole system, and sends what they mean to those who asked.

Two halves that meet in the store. *Going through*: the core that holds the lease reads events behind its position and writes
down, in one transaction with the new position, what is to be sent to whom. *Sending*: what is due is sent, and tried again
with growing pauses for a day. A crash between sending and writing that down sends twice, under the same notice id.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta

import msgspec

from bfactors.errors import Fenced, LedgerCorrupt, NotFetched, Unavailable
from bfactors.ledger_row import EventRow
from bfactors.notice import (
    Channel,
    NotifierLease,
    SealedTarget,
    Subscription,
    Telling,
    next_attempt,
    notice_of,
)
from bfactors.ports import Clock, Metrics, NoticeSender, NotificationStore, PublishedEvents, SecretStore

_LOG = logging.getLogger(__name__)

LEASE = timedelta(seconds=15)
RENEWED_EVERY_S = 5.0
LOOKED_EVERY_S = 2.0
LET_GO_WITHIN_S = 2.0
AT_ONCE = 16

Subscriptions = Callable[[], Awaitable[Mapping[str, Subscription]]]
CohortOf = Callable[[str], Awaitable[str | None]]


class Notifier:
    """One per core node, on the I/O lane; `run` goes on until cancelled."""

    def __init__(
        self,
        *,
        owner: str,
        store: NotificationStore,
        events: PublishedEvents,
        subscriptions: Subscriptions,
        cohort_of: CohortOf,
        secrets: SecretStore,
        senders: Mapping[Channel, NoticeSender],
        clock: Clock,
        metrics: Metrics,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._owner = owner
        self._store = store
        self._events = events
        self._subscriptions = subscriptions
        self._cohort_of = cohort_of
        self._secrets = secrets
        self._senders = senders
        self._clock = clock
        self._metrics = metrics
        self._wait = wait
        self._position = -1
        self._written = -1

    async def run(self) -> None:
        """Hold the lease whenever it is free, and do the work while it is held."""
        while True:
            try:
                lease = await self._store.hold(self._owner, LEASE)
                if lease is not None:
                    await self._served(lease)
            except Unavailable as away:
                _LOG.info("notices wait: %s", away)
            except Fenced:
                _LOG.info("another core sends notices now")
            await self._wait(RENEWED_EVERY_S)

    async def _served(self, lease: NotifierLease) -> None:
        try:
            await self._serve(lease)
        except asyncio.CancelledError:
            await self._let_go(lease)
            raise

    async def _let_go(self, lease: NotifierLease) -> None:
        """Another core goes on at once, and behind what was gone through; one that cannot be told waits the lease out."""
        try:
            async with asyncio.timeout(LET_GO_WITHIN_S):
                if self._position > self._written:
                    await self._take(lease, self._position, [])
                await self._store.release(lease)
        except (Unavailable, Fenced, TimeoutError) as problem:
            _LOG.info("the notifier's lease is left to lapse: %s", problem)

    async def _serve(self, lease: NotifierLease) -> None:
        try:
            async with asyncio.TaskGroup() as work:
                work.create_task(self._keep(lease), name="notifier lease")
                work.create_task(self._go_through(lease), name="notifier events")
                work.create_task(self._deliver(), name="notifier sending")
        except* Unavailable as away:
            raise away.exceptions[0] from None
        except* Fenced as fenced:
            raise fenced.exceptions[0] from None

    async def _keep(self, lease: NotifierLease) -> None:
        while True:
            await self._wait(RENEWED_EVERY_S)
            held = await self._store.hold(self._owner, LEASE)
            if held is None or held.epoch != lease.epoch:
                raise Fenced("the notifier's lease is gone")
            if self._position > self._written:
                await self._take(lease, self._position, [])

    # ------------------------------------------------------------ going through the events

    async def _go_through(self, lease: NotifierLease) -> None:
        self._position = self._written = await self._start(lease)
        async with aclosing(self._events.read(self._position)) as events:
            async for position, row in events:
                tellings = await self._tellings(row)
                if tellings:
                    await self._take(lease, position, tellings)
                self._position = position

    async def _start(self, lease: NotifierLease) -> int:
        """Behind what was gone through; the first time, from the beginning, where nobody was subscribed yet."""
        first, last = await self._events.bounds()
        if lease.position is None:
            return max(first - 1, 0)
        if lease.position > last or lease.position + 1 < first:
            _LOG.error(
                "published events from %d on are not to be had (%d to %d are): nobody is told of them",
                lease.position + 1,
                first,
                last,
            )
            return last if lease.position > last else first - 1
        return lease.position

    async def _take(self, lease: NotifierLease, position: int, tellings: Sequence[Telling]) -> None:
        await self._store.take(lease, position, tellings)
        self._written = position

    async def _tellings(self, row: EventRow) -> list[Telling]:
        notice = notice_of(row)
        if notice is None:
            return []
        subscriptions = (await self._subscriptions()).values()
        if not subscriptions:
            return []
        cohort = await self._cohort_of(notice.charger_id) if notice.charger_id is not None else None
        now = self._clock.now()
        return [
            Telling(notice=notice, subscription_id=one.subscription_id, created_at=now)
            for one in subscriptions
            if one.wants(notice, cohort)
        ]

    # ------------------------------------------------------------ sending

    async def _deliver(self) -> None:
        while True:
            due = await self._store.due(self._clock.now(), AT_ONCE)
            subscriptions = await self._subscriptions() if due else {}
            await asyncio.gather(*(self._send(telling, subscriptions) for telling in due))
            if len(due) < AT_ONCE:
                await self._wait(LOOKED_EVERY_S)

    async def _send(self, telling: Telling, subscriptions: Mapping[str, Subscription]) -> None:
        subscription = subscriptions.get(telling.subscription_id)
        if subscription is None:
            await self._settle(telling, "withdrawn", "", "nobody is subscribed any more")
            return
        try:
            target = await self._target(subscription)
            sender = self._senders.get(subscription.channel)
            if sender is None:
                raise NotFetched("no-relay", "no mail relay is configured")
            await sender.send(target, telling)
        except NotFetched as problem:
            await self._failed(telling, subscription.channel, problem)
        else:
            await self._settle(telling, "delivered", subscription.channel, None)

    async def _target(self, subscription: Subscription) -> SealedTarget:
        try:
            opened = await self._secrets.open(subscription.secret_id)
        except LedgerCorrupt as problem:
            raise NotFetched("bad-address", "the sealed address cannot be opened") from problem
        if opened is None:
            raise NotFetched("bad-address", "the sealed address is gone")
        return msgspec.json.decode(opened.disclosed.value, type=SealedTarget)

    async def _failed(self, telling: Telling, channel: Channel, problem: NotFetched) -> None:
        again = next_attempt(telling, self._clock.now())
        if again is None:
            await self._settle(telling, "given-up", channel, str(problem))
            return
        self._metrics.count("notices_total", channel=channel, outcome="failed")
        await self._store.failed(telling, again, str(problem))

    async def _settle(self, telling: Telling, state: str, channel: str, error: str | None) -> None:
        self._metrics.count("notices_total", channel=channel or "none", outcome=state)
        if state == "given-up":
            _LOG.error(
                "a notice was given up after a day",
                extra={"notice": telling.notice.notice_id, "subscription": telling.subscription_id},
            )
        await self._store.settled(telling, state, self._clock.now(), error)
