"""Calling a charger by hand through the API: its answer comes back, and a repeat makes no second call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bfactors import evidence as v
from bfactors.identity import partition_of
from bfactors.instruction import CallAction
from bfactors.ocpp import Answered, CallFailed, Outcome
from gateways.admin.ports import FeedItem
from tests.core.world import World as CoreWorld
from tests.core.world import evidence
from tests.integration.admin_world import AdminWorld, Reply

PATH = "/api/v1/chargers/CP-1/ocpp/Reset"
PARTITION = partition_of("CP-1")


class LedgerTail:
    """The ledger in memory as a feed; `wake` after every commit of the test's own."""

    def __init__(self, world: AdminWorld) -> None:
        self._world = world
        self._news = asyncio.Event()
        self.open_now = 0

    def wake(self) -> None:
        self._news.set()

    async def open(self, after: int | None) -> AsyncIterator[FeedItem]:
        return self._follow(len(self._rows()))

    async def _follow(self, index: int) -> AsyncIterator[FeedItem]:
        self.open_now += 1
        try:
            while True:
                rows = self._rows()
                while index < len(rows):
                    row = rows[index]
                    index += 1
                    yield FeedItem(index, row.event, b'{"payload":' + row.payload.encode() + b"}")
                self._news.clear()
                await self._news.wait()
        finally:
            self.open_now -= 1

    def _rows(self) -> list[Any]:
        return self._world.store.events.get(PARTITION, [])


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    made = AdminWorld()
    made.events = LedgerTail(made)
    async with made.served():
        yield made


async def connected(world: AdminWorld) -> None:
    core = CoreWorld()
    core.connect()
    await world.adopt(core)


async def ordered(world: AdminWorld) -> tuple[str, CallAction]:
    """The call once it is in the ledger."""
    async with asyncio.timeout(5):
        while True:
            for row in world.store.instructions.values():
                return row.instruction_id, row
            await asyncio.sleep(0)


async def answer(world: AdminWorld, outcome: Outcome) -> None:
    instruction_id, _ = await ordered(world)
    body = v.InstructionAnswered(instruction_id=instruction_id, decision=1, session_id="s1", outcome=outcome)
    await world.door.tell(PARTITION, evidence("CP-1", body, world.clock.at))
    assert isinstance(world.events, LedgerTail)
    world.events.wake()


async def test_the_charger_s_answer_comes_back_to_whoever_called(world: AdminWorld) -> None:
    await connected(world)
    asked = asyncio.create_task(world.ask("POST", PATH, {"type": "OnIdle"}, key="k1"))
    await answer(world, Answered("Accepted", payload='{"status":"Accepted"}'))
    reply = await asked
    assert (reply.status, reply.body) == (200, {"outcome": "answered", "payload": {"status": "Accepted"}})
    again = await world.ask("POST", PATH, {"type": "OnIdle"}, key="k1")
    assert again.body == reply.body, "told again, not called again"
    other = await world.ask("POST", PATH, {"type": "Immediate"}, key="k1")
    assert other.status == 422


async def test_a_callerror_is_an_answer_of_its_own(world: AdminWorld) -> None:
    await connected(world)
    asked = asyncio.create_task(world.ask("POST", PATH, {"type": "OnIdle"}))
    await answer(world, CallFailed("NotSupported", "never"))
    assert (await asked).body == {"outcome": "error", "error": "NotSupported never"}
    assert isinstance(world.events, LedgerTail)
    assert world.events.open_now == 0, "the feed was let go"


async def test_a_charger_that_is_away_is_a_conflict(world: AdminWorld) -> None:
    await world.register()
    reply = await world.ask("POST", PATH, {"type": "OnIdle"})
    assert (reply.status, reply.body["code"]) == (409, "not-connected")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/chargers/CP-1/ocpp/ClearCache", {}, 404),
        ("/api/v1/chargers/nobody/ocpp/Reset", {}, 404),
        (PATH, [], 422),
        (
            "/api/v1/chargers/CP-1/ocpp/ChangeConfiguration",
            {"key": "AuthorizationKey", "value": "00" * 16},
            422,
        ),
    ],
)
async def test_what_cannot_be_called_is_refused(world: AdminWorld, path: str, body: Any, status: int) -> None:
    await connected(world)
    reply: Reply = await world.ask("POST", path, body)
    assert reply.status == status
    assert not world.store.instructions
