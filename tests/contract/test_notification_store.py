"""Notices on their way: nothing lost, nothing twice, one core at a time - in memory and in PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bfactors.errors import Fenced
from bfactors.notice import Notice, Telling
from bfactors.ports import NotificationStore
from bfactors.refusal import Refusal
from persistence.notification import PostgresNotifications
from persistence.reader import LedgerReader
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.fakes.notification import FakeNotifications

pytest_plugins = ("tests.fakes.ledger_database",)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=15)


def telling(notice_id: str = "1:7", subscription_id: str = "sub-1", at: datetime = NOW) -> Telling:
    notice = Notice(
        notice_id=notice_id,
        kind="job-overdue",
        severity="warning",
        event="CertificateJobOverdue",
        recorded_at=at,
        text="not-reconnected: größer als\x7f",
        charger_id="CP-1",
        managed_identity_id="mi-1",
        purpose="charging_station",
        job_id="job-1",
        certificate_id=None,
    )
    return Telling(notice=notice, subscription_id=subscription_id, created_at=at)


@pytest.fixture
async def in_postgres(emptied_ledger_database: FreshDatabase) -> AsyncIterator[PostgresNotifications]:
    reached = await PostgresNotifications.reach(emptied_ledger_database.dsn(WRITER))
    yield reached
    await reached.close()


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> NotificationStore:
    if request.param == "memory":
        return FakeNotifications()
    found: NotificationStore = request.getfixturevalue("in_postgres")
    return found


async def test_one_goes_through_the_events_at_a_time(store: NotificationStore) -> None:
    first = await store.hold("a", LEASE)
    assert first is not None
    assert first.position is None
    assert await store.hold("b", LEASE) is None
    again = await store.hold("a", LEASE)
    assert again == first
    await store.release(first)
    second = await store.hold("b", LEASE)
    assert second is not None
    assert second.epoch > first.epoch
    with pytest.raises(Fenced):
        await store.take(first, 5, [telling()])
    assert await store.due(NOW, 10) == []
    await store.take(second, 6, [])
    assert (await store.hold("b", LEASE)) == second._replace(position=6)


async def test_the_same_event_gone_through_twice_is_told_once(store: NotificationStore) -> None:
    lease = await store.hold("a", LEASE)
    assert lease is not None
    await store.take(lease, 7, [telling(), telling(subscription_id="sub-2")])
    await store.settled(telling(), "delivered", NOW)
    await store.take(lease, 7, [telling(), telling(subscription_id="sub-2")])
    assert await store.due(NOW, 10) == [telling(subscription_id="sub-2")]


async def test_what_failed_is_due_again_later_and_counts_its_attempts(store: NotificationStore) -> None:
    lease = await store.hold("a", LEASE)
    assert lease is not None
    await store.take(lease, 7, [telling("1:7"), telling("1:8", at=NOW + timedelta(seconds=1))])
    assert [t.notice.notice_id for t in await store.due(NOW + timedelta(hours=1), 10)] == ["1:7", "1:8"]
    assert [t.notice.notice_id for t in await store.due(NOW + timedelta(hours=1), 1)] == ["1:7"]
    await store.failed(telling("1:7"), NOW + timedelta(minutes=1), "unreachable: \x00 no")
    assert [t.notice.notice_id for t in await store.due(NOW + timedelta(seconds=59), 10)] == ["1:8"]
    (first, *_) = [t for t in await store.due(NOW + timedelta(hours=1), 10) if t.notice.notice_id == "1:7"]
    assert first.attempts == 1
    assert first.notice == telling("1:7").notice


async def test_a_reader_sees_what_was_told_and_how_it_went(
    in_postgres: PostgresNotifications, emptied_ledger_database: FreshDatabase
) -> None:
    lease = await in_postgres.hold("a", LEASE)
    assert lease is not None
    later = NOW + timedelta(minutes=1)
    await in_postgres.take(lease, 7, [telling("1:7"), telling("1:8", "sub-2", later)])
    await in_postgres.settled(telling("1:8", "sub-2"), "given-up", later, "timeout: no answer")
    reader = await LedgerReader.open(emptied_ledger_database.dsn(READER))
    try:

        async def told(**filters: Any) -> list[Any]:
            found = await reader.notifications(**filters)
            assert not isinstance(found, Refusal)
            return [(item["notice_id"], item["state"], item["last_error"]) for item in found["items"]]

        first, second = ("1:8", "given-up", "timeout: no answer"), ("1:7", "pending", None)
        assert await told() == [first, second]
        assert await told(state="pending") == [second]
        assert await told(subscription_id="sub-2") == [first]
        assert await told(charger_id="nobody") == []
        page = await reader.notifications(limit=1)
        assert not isinstance(page, Refusal)
        assert page["items"][0]["text"].startswith("not-reconnected: größer")
        rest = await reader.notifications(limit=1, cursor=page["next_cursor"])
        assert not isinstance(rest, Refusal)
        assert ([item["notice_id"] for item in rest["items"]], rest["next_cursor"]) == (["1:7"], None)
    finally:
        await reader.close()
