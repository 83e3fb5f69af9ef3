"""Outstanding firmware work survives sessions, owners and lost messages; what is done is not sent again."""

from collections.abc import AsyncIterator

import pytest

from actors.ledger import actor, announcement
from actors.ledger.firmware import FirmwareOrders
from bfactors import evidence as v
from bfactors.command import CommandEnvelope
from bfactors.firmware.command import InstallFirmwareAnchor
from bfactors.firmware.event import FirmwareListRequested, FirmwareWorkCancelled
from bfactors.firmware.evolve import charger_after
from bfactors.firmware.state import FirmwareCharger
from bfactors.instruction import InstallFirmwareRoot, InstructionOrder, ListFirmwareRoots
from bfactors.ocpp import Answered
from tests.actors.ledger_world import PARTITION, LedgerWorld
from tests.core import pki
from tests.core.ledger import registration

INSTALL = InstallFirmwareAnchor(
    work_id="firmware-1",
    charger_id="CP-1",
    anchor_id="maker-1",
    pem=pki.ca("Maker").root_pem,
    reason="new hall",
)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LedgerWorld]:
    for name in ("TICK_S", "CLAIM_AGAIN_S", "RETRY_S"):
        monkeypatch.setattr(actor, name, 0.005)
    monkeypatch.setattr(announcement, "RETRY_S", 0.005)
    world = LedgerWorld()
    yield world
    await world.stop()
    assert world.failures == []


async def ordered(world: LedgerWorld) -> None:
    """Somebody wants a root on a charger that is registered."""
    await world.accepted(registration())
    envelope = CommandEnvelope(command_id="f", actor="operator:fay", role="firmware-admin", body=INSTALL)
    assert (await world.door.request(PARTITION, envelope)).refusal is None


def firmware(world: LedgerWorld) -> list[InstructionOrder]:
    return [
        order for order in world.orders if isinstance(order.body, InstallFirmwareRoot | ListFirmwareRoots)
    ]


async def answer(world: LedgerWorld, order: InstructionOrder, status: str) -> None:
    await world.tell(
        v.InstructionAnswered(
            instruction_id=order.instruction_id,
            decision=order.decision,
            session_id=order.session_id,
            outcome=Answered(status),
        ),
        name=order.instruction_id,
    )


async def test_work_waits_for_the_charger_and_goes_on_with_its_list(world: LedgerWorld) -> None:
    world.start()
    await ordered(world)
    await world.connect()
    await world.until(lambda: firmware(world), "the root is sent")
    await answer(world, firmware(world)[0], "Accepted")
    await world.until(lambda: len(firmware(world)) == 2, "it is listed")
    assert isinstance(firmware(world)[1].body, ListFirmwareRoots)
    await answer(world, firmware(world)[1], "NotFound")
    await world.until(lambda: world.store.events[PARTITION][-1].event == "FirmwareListReported")
    await world.connect(session_id="s2")
    await world.quiet()
    assert len(firmware(world)) == 2, "nothing is outstanding any more"


async def test_the_next_session_is_sent_what_the_last_one_did_not_answer(world: LedgerWorld) -> None:
    world.start()
    await ordered(world)
    await world.connect()
    await world.until(lambda: firmware(world))
    await world.connect(session_id="s2")
    await world.until(lambda: [each.session_id for each in firmware(world)] == ["s1", "s2"])


async def test_the_next_owner_sends_what_is_outstanding_and_nothing_that_ended(world: LedgerWorld) -> None:
    first = world.start()
    await ordered(world)
    await world.connect()
    await world.until(lambda: firmware(world))
    await answer(world, firmware(world)[0], "Accepted")
    await world.until(lambda: len(firmware(world)) == 2)
    await first.stop()
    world.orders.clear()
    world.start(owner="core-2")
    await world.until(lambda: firmware(world), "the next owner says it again")
    await world.quiet()
    assert {type(each.body) for each in firmware(world)} == {ListFirmwareRoots}


def test_a_stale_page_of_a_scan_brings_nothing_back() -> None:
    now = pki.BEGIN
    opened = charger_after(
        FirmwareCharger(charger_id="CP-1"),
        FirmwareListRequested(charger_id="CP-1", work_id="firmware-1", reason="r", by="b"),
        now,
    )
    ended = charger_after(
        opened, FirmwareWorkCancelled(charger_id="CP-1", work_id="firmware-1", reason="r", by="b"), now
    )
    orders = FirmwareOrders()
    assert orders.note(ended)
    assert not orders.note(opened)
