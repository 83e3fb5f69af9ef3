"""The ladder: a charger that took its leaf and stays on its old session has its socket closed, perhaps is reset."""

from datetime import timedelta

import pytest

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import clock, outgoing
from bfactors.instruction import CallAction, CloseSession, Reboot
from bfactors.ocpp import Answered, Disconnected, Silent
from tests.core.world import World, fleet_facts


def renewing(**values: object) -> tuple[World, str, str]:
    """A charger on profile 3 that has taken its renewed leaf; the fingerprints of old and new."""
    policy = c.SetPolicy(scope="purpose:charging_station", values=values)
    world = World(fleet_facts(policy))
    old = world.to_active()
    world.request("renew", job_id="renewal")
    world.carry_out()
    world.present_csr()
    new = world.ca_issues()
    world.carry_out()
    return world, old.fingerprint_sha256, new.fingerprint_sha256


def kinds(world: World) -> list[type]:
    return [type(body) for body in world.orders()]


def reason(world: World) -> str | None:
    return world.charger.jobs["renewal"].reason_code


def test_a_charger_that_stays_on_its_session_has_its_socket_closed_and_is_overdue_later() -> None:
    world, _, new = renewing()
    world.wait(seconds=599)
    assert kinds(world) == []
    world.wait(seconds=1)
    assert kinds(world) == [CloseSession]
    assert reason(world) == "socket-closed"
    assert not world.charger.jobs["renewal"].overdue
    world.carry_out(Answered("Closed"))
    world.wait(seconds=300)
    job = world.charger.jobs["renewal"]
    assert (job.overdue, job.reason_code, job.waiting_for) == (True, "socket-closed", "reconnect")
    assert [known.state for known in outgoing.admission(world.charger).credentials] == ["active", "installed"]
    world.connect(3, new)
    assert world.jobs["renewal"].state == "succeeded"


@pytest.mark.parametrize("off", ["reconnect_close_s", "reconnect_reset_s"])
def test_a_step_of_no_seconds_is_never_taken(off: str) -> None:
    values = {"reconnect_close_s": 60, "reconnect_reset_s": 60, off: 0, "discarded_after_s": 0}
    world, _, _ = renewing(**values)
    taken: list[type] = []
    for _ in range(5):
        world.wait(minutes=10)
        taken += kinds(world)
        if world.orders():
            world.carry_out()
    assert taken == ([Reboot] if off == "reconnect_close_s" else [CloseSession])


def test_the_reset_comes_after_the_closed_socket_brought_it_back_unchanged() -> None:
    world, old, _ = renewing(reconnect_close_s=60, reconnect_reset_s=120, discarded_after_s=0)
    world.wait(seconds=60)
    world.carry_out(Answered("Closed"))
    world.wait(seconds=10)
    world.connect(3, old)
    assert reason(world) == "reconnected-with-old-certificate"
    world.wait(seconds=119)
    assert kinds(world) == []
    world.wait(seconds=1)
    (order,) = world.orders()
    assert order == Reboot(when="on-idle")
    assert reason(world) == "reset-to-reconnect"
    world.carry_out(Answered("Scheduled"))
    world.wait(days=2)
    assert kinds(world) == []
    assert world.charger.jobs["renewal"].ladder == ("close-socket", "reset")


def test_each_step_is_taken_once_for_a_leaf() -> None:
    world, old, _ = renewing(
        reconnect_close_s=60, reconnect_reset_s=60, discarded_reconnects=0, discarded_after_s=0
    )
    for _ in range(8):
        world.wait(minutes=5)
        if world.orders():
            world.carry_out(Disconnected())
        world.connect(3, old)
    assert world.names().count("ReconnectStepTaken") == 2


def test_no_second_reset_is_sent_before_the_charger_has_come_back_from_the_first() -> None:
    world, old, _ = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    call = c.CallCharger(call_id="call", charger_id="CP-1", action="Reset", payload='{"type":"OnIdle"}')
    world.command(call)
    world.carry_out(Answered("Scheduled"))
    world.wait(hours=1)
    assert kinds(world) == []
    world.connect(3, old)
    world.wait(seconds=60)
    assert kinds(world) == [Reboot]


def test_a_reset_that_was_refused_hinders_no_other() -> None:
    world, _, _ = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    world.command(
        c.CallCharger(call_id="call", charger_id="CP-1", action="Reset", payload='{"type":"OnIdle"}')
    )
    world.carry_out(Answered("Rejected"))
    world.wait(seconds=60)
    assert kinds(world) == [Reboot]


def test_a_refused_step_is_said_and_costs_no_attempt() -> None:
    world, _, new = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    world.wait(seconds=60)
    world.carry_out(Answered("Rejected", reason_code="InUse"))
    job = world.charger.jobs["renewal"]
    assert (job.stage, job.reason_code, job.failures) == ("awaiting-reconnect", "reset-refused", 0)
    assert "InUse" in (job.reason_message or "")
    world.connect(3, new)
    assert world.jobs["renewal"].state == "succeeded"


@pytest.mark.parametrize("sent", [True, False])
def test_a_reconnect_settles_the_step_that_was_to_bring_it_about(sent: bool) -> None:
    """Sent or not: the new session is neither closed nor reset for what the old one was meant for."""
    world, old, _ = renewing()
    world.wait(seconds=600)
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    if sent:
        key = {"instruction_id": order.instruction_id, "decision": 1, "session_id": order.session_id}
        world.tell(v.InstructionSent(**key))  # type: ignore[arg-type]
    world.connect(3, old)
    assert world.charger.instructions == {}
    assert kinds(world) == []


def test_a_pause_takes_no_step_and_the_clock_rests() -> None:
    world, _, _ = renewing()
    pause = c.SetSupervisorState(kind="family", name="acme-one", action="pause", reason="recall")
    unpaused, world.facts = world.facts, fleet_facts(pause)
    world.wait(hours=1)
    assert kinds(world) == []
    due_at = clock.next_due(world.charger, world.facts, world.now)
    assert due_at is None or due_at > world.now
    world.facts = unpaused
    world.wait(seconds=1)
    assert kinds(world) == [CloseSession]


def test_no_step_is_taken_while_the_charger_is_away() -> None:
    world, old, _ = renewing()
    assert world.charger.session is not None
    world.tell(v.SessionClosed(session_id=world.charger.session.session_id, reason="gone"))
    world.wait(hours=1)
    assert "ReconnectStepTaken" not in world.names()
    assert reason(world) == "not-reconnected"
    world.connect(3, old)
    world.wait(seconds=600)
    assert kinds(world) == [CloseSession]


def test_a_reset_by_hand_that_has_not_left_yet_is_not_joined_by_the_ladder_s() -> None:
    world, _, new = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    world.wait(seconds=50)
    by_hand = c.CallCharger(call_id="call-1", charger_id="CP-1", action="Reset", payload='{"type":"OnIdle"}')
    world.command(by_hand)
    world.wait(seconds=10)
    assert reason(world) == "reset-to-reconnect"
    assert kinds(world) == [CallAction]
    world.carry_out(Answered("Accepted"))
    assert kinds(world) == []
    world.connect(3, new)
    assert world.jobs["renewal"].state == "succeeded"
    assert world.charger.instructions == {}


def test_one_that_refused_a_reset_by_hand_is_reset_by_the_ladder() -> None:
    world, _, _ = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    world.wait(seconds=50)
    by_hand = c.CallCharger(call_id="call-1", charger_id="CP-1", action="Reset", payload='{"type":"OnIdle"}')
    world.command(by_hand)
    world.wait(seconds=10)
    world.carry_out(Answered("Rejected"))
    assert kinds(world) == [Reboot]


def test_the_ladder_is_not_for_a_charger_that_has_yet_to_migrate() -> None:
    world = World()
    world.to_installed()
    for _ in range(3):
        world.carry_out()
    world.wait(hours=1)
    assert "ReconnectStepTaken" not in world.names()


def test_silence_to_a_reset_counts_as_done() -> None:
    world, _, _ = renewing(reconnect_close_s=0, reconnect_reset_s=60)
    world.wait(seconds=60)
    world.carry_out(Silent())
    assert world.charger.instructions == {}
    world.wait(hours=1)
    assert kinds(world) == []


def test_the_next_key_climbs_a_ladder_of_its_own() -> None:
    world, old, _ = renewing(discarded_reconnects=1)
    world.wait(seconds=600)
    world.carry_out(Answered("Closed"))
    world.connect(3, old)
    world.wait_for_order()
    world.carry_out()
    world.present_csr()
    world.ca_issues()
    world.carry_out()
    assert world.charger.jobs["renewal"].ladder == ()
    world.now += timedelta(seconds=599)
    world.wait(seconds=1)
    assert kinds(world) == [CloseSession]
