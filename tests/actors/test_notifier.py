"""The notifier: what is published while nobody looks is told once it can be, by one core, to those who want it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.notifier import Notifier
from bfactors import event as e
from bfactors.disclosed import Disclosed
from bfactors.errors import NotFetched, Unavailable
from bfactors.ledger_row import GENESIS, EventRow
from bfactors.notice import SealedTarget, Subscription, Telling
from bfactors.secret import OpenedSecret, SecretName
from tests.fakes.ledger_row import DAWN
from tests.fakes.ledger_row import event as ledger_event
from tests.fakes.notification import FakeNotifications

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TURNS = 60


class Feed:
    """Published events, as they come."""

    def __init__(self) -> None:
        self.rows: list[EventRow] = []
        self.first = 1
        self.is_away = False
        self._more = asyncio.Event()

    def publish(self, event: Any, charger_id: str | None = "CP-1") -> None:
        self.rows.append(
            ledger_event(
                GENESIS,
                1,
                len(self.rows) + 1,
                event=type(event).__name__,
                payload=msgspec.json.encode(event).decode(),
                charger_id=charger_id,
            )
        )
        self._more.set()

    async def bounds(self) -> tuple[int, int]:
        if self.is_away:
            raise Unavailable("NATS")
        return self.first, len(self.rows)

    async def read(self, after: int) -> AsyncGenerator[tuple[int, EventRow], None]:
        while True:
            while after < len(self.rows):
                after += 1
                yield after, self.rows[after - 1]
            self._more.clear()
            await self._more.wait()


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.fails = 0
        self.crash = False

    async def send(self, target: SealedTarget, telling: Telling) -> None:
        if self.fails:
            self.fails -= 1
            raise NotFetched("unreachable", "no route")
        self.sent.append((target.address, telling.notice.notice_id))
        if self.crash:
            raise asyncio.CancelledError


class Secrets:
    async def open(self, secret_id: str) -> OpenedSecret | None:
        if secret_id == "gone":
            return None
        sealed = msgspec.json.encode(SealedTarget(address=f"https://{secret_id}/hook", signing_key="k"))
        return OpenedSecret(
            SecretName(secret_id=secret_id, purpose="notification", charger_id=""), Disclosed(sealed)
        )


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0

    def new_id(self) -> str:
        return "id"


class Numbers:
    def __init__(self) -> None:
        self.counted: list[str] = []

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counted.append(labels["outcome"])

    def gauge(self, name: str, value: float, **labels: str) -> None: ...
    def observe(self, name: str, value: float, **labels: str) -> None: ...


class World:
    def __init__(self) -> None:
        self.store = FakeNotifications()
        self.feed = Feed()
        self.sender = Sender()
        self.clock = Clock()
        self.numbers = Numbers()
        self.subscriptions: dict[str, Subscription] = {}
        self.cohorts = {"CP-1": "north", "CP-2": "south"}
        self.tasks: list[asyncio.Task[None]] = []

    def subscribe(self, name: str, **fields: Any) -> None:
        values = {"channel": "webhook", "target": "h", "role": "operator", "secret_id": name, **fields}
        self.subscriptions[name] = Subscription(subscription_id=name, **values)

    async def _subscriptions(self) -> dict[str, Subscription]:
        return self.subscriptions

    async def _cohort_of(self, charger_id: str) -> str | None:
        return self.cohorts.get(charger_id)

    def start(
        self, owner: str = "a", wait: Callable[[float], Any] = lambda seconds: asyncio.sleep(0)
    ) -> asyncio.Task[None]:
        notifier = Notifier(
            owner=owner,
            store=self.store,
            events=self.feed,
            subscriptions=self._subscriptions,
            cohort_of=self._cohort_of,
            secrets=Secrets(),  # type: ignore[arg-type]
            senders={"webhook": self.sender},
            clock=self.clock,
            metrics=self.numbers,
            wait=wait,
        )
        self.tasks.append(asyncio.get_running_loop().create_task(notifier.run()))
        return self.tasks[-1]

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def kill(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def end(self) -> None:
        for task in self.tasks:
            await self.kill(task)


async def away(*_: Any) -> None:
    raise Unavailable("PostgreSQL")


def overdue(job_id: str = "j") -> e.CertificateJobOverdue:
    return e.CertificateJobOverdue(job_id=job_id, reason_code="not-reconnected", reason_message="")


async def test_what_happened_before_somebody_subscribed_is_not_told_but_all_since_then_is() -> None:
    world = World()
    world.subscribe("late", since=DAWN + timedelta(seconds=2))
    world.subscribe("early")
    for _ in range(3):
        world.feed.publish(overdue())
    world.start()  # the notifier itself begins later than both
    await world.settle()
    assert sorted(world.sender.sent) == [
        *[("https://early/hook", f"1:{n}") for n in (1, 2, 3)],
        *[("https://late/hook", f"1:{n}") for n in (2, 3)],
    ]
    await world.end()


async def test_each_is_told_what_it_asked_for() -> None:
    world = World()
    world.subscribe("all")
    world.subscribe("south", cohorts=("south",))
    world.subscribe("csrs", kinds=("csr-refused",))
    world.subscribe("alarms", least_severity="critical")
    world.start()
    await world.settle()
    world.feed.publish(overdue(), "CP-1")
    world.feed.publish(overdue(), "CP-2")
    world.feed.publish(e.CertificateExpired(certificate_id="c"), "CP-1")
    world.feed.publish(e.CertificateJobSucceeded(job_id="j", certificate_id="c"), "CP-2")
    await world.settle()
    assert sorted(world.sender.sent) == [
        ("https://alarms/hook", "1:3"),
        ("https://all/hook", "1:1"),
        ("https://all/hook", "1:2"),
        ("https://all/hook", "1:3"),
        ("https://south/hook", "1:2"),
    ]
    await world.end()


async def test_what_is_published_while_no_core_lives_is_told_by_the_next() -> None:
    world = World()
    world.subscribe("one")
    first = world.start("a")
    await world.settle()
    world.store.release = away  # type: ignore[method-assign]
    await world.kill(first)
    world.feed.publish(overdue())
    world.start("b")
    await world.settle()
    assert world.sender.sent == []  # the first one's lease has not lapsed
    world.store.lapse()
    await world.settle()
    assert world.sender.sent == [("https://one/hook", "1:1")]
    await world.end()


async def test_an_owner_that_was_replaced_ends_its_work_and_tells_nothing_twice() -> None:
    world = World()
    world.subscribe("one")
    world.start("a")
    await world.settle()
    world.store.lapse()
    await world.store.hold("b", timedelta(seconds=15))
    world.feed.publish(overdue())
    await world.settle()
    assert world.store.position is None  # only b may go through the events now
    world.start("b")
    await world.settle()
    assert [notice for _, notice in world.sender.sent] == ["1:1"]
    await world.end()


async def test_a_crash_between_sending_and_noting_it_sends_again_under_the_same_id() -> None:
    world = World()
    world.subscribe("one")
    first = world.start("a")
    await world.settle()
    world.sender.crash = True
    world.feed.publish(overdue())
    await world.settle()
    await world.kill(first)
    world.sender.crash = False
    world.store.lapse()
    world.start("b")
    await world.settle()
    assert set(world.sender.sent) == {("https://one/hook", "1:1")}
    assert len(world.sender.sent) >= 2
    assert world.store.states == {("1:1", "one"): "delivered"}
    await world.end()


async def test_a_peer_that_is_away_is_tried_again_and_given_up_after_a_day() -> None:
    world = World()
    world.subscribe("one")
    world.start()
    await world.settle()
    world.sender.fails = 2
    world.feed.publish(overdue())
    await world.settle()
    assert (world.sender.sent, world.store.errors[("1:1", "one")]) == ([], "unreachable: no route")
    world.clock.at += timedelta(seconds=30)
    await world.settle()
    assert world.sender.sent == []
    world.clock.at += timedelta(seconds=60)
    await world.settle()
    assert world.sender.sent == [("https://one/hook", "1:1")]
    world.sender.fails = 10**6
    world.feed.publish(overdue("k"))
    await world.settle()
    world.clock.at += timedelta(days=1)
    await world.settle()
    assert world.store.states[("1:2", "one")] == "given-up"
    assert world.numbers.counted == ["failed", "failed", "delivered", "failed", "given-up"]
    await world.end()


async def test_nothing_is_sent_to_who_has_left_or_cannot_be_reached_by_us() -> None:
    world = World()
    world.subscribe("one")
    world.subscribe("gone")
    world.subscribe("mail", channel="email")
    world.start()
    await world.settle()
    world.sender.fails = 1
    world.feed.publish(overdue())
    await world.settle()
    del world.subscriptions["one"]
    world.clock.at += timedelta(seconds=30)
    await world.settle()
    assert world.sender.sent == []
    assert world.store.states[("1:1", "one")] == "withdrawn"
    assert "gone" in str(world.store.errors[("1:1", "gone")])
    assert "relay" in str(world.store.errors[("1:1", "mail")])
    await world.end()


async def test_nats_away_at_the_start_is_waited_for() -> None:
    world = World()
    world.subscribe("one")
    world.feed.is_away = True
    world.start()
    await world.settle()
    world.feed.is_away = False
    await world.settle()
    world.feed.publish(overdue())
    await world.settle()
    assert [notice for _, notice in world.sender.sent] == ["1:1"]
    await world.end()


async def test_events_that_are_not_to_be_had_any_more_are_passed_over() -> None:
    world = World()
    world.subscribe("one")
    for _ in range(5):
        world.feed.publish(overdue())
    world.store.position = 1
    world.feed.first = 4
    world.start()
    await world.settle()
    assert [notice for _, notice in world.sender.sent] == ["1:4", "1:5"]
    await world.end()


async def test_a_notifier_that_stops_lets_the_next_begin_at_once_behind_what_it_went_through() -> None:
    world = World()
    world.subscribe("s", kinds=("lockout",))
    first = world.start("a", wait=lambda seconds: asyncio.Event().wait())
    for _ in range(3):
        world.feed.publish(
            overdue()
        )  # nobody is told of these: that they were seen is not written down at once
    await world.settle()
    await world.kill(first)
    lease = await world.store.hold("b", timedelta(seconds=15))
    assert lease is not None
    assert lease.position == 3
    await world.end()


async def test_a_notifier_that_cannot_say_so_stops_all_the_same() -> None:
    world = World()
    first = world.start("a")
    await world.settle()
    world.store.release = away  # type: ignore[method-assign]
    await world.kill(first)
    assert first.cancelled()
    await world.end()
