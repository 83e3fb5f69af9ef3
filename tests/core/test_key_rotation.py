"""A rotation of an AuthorizationKey: every way it can go, and that no way locks the charger out."""

from datetime import timedelta

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import clock, key_rotation, outgoing
from bfactors.charger.draft import Draft
from bfactors.instruction import CloseSession, Reboot, WriteAuthorizationKey
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from tests.core.key_world import KeyWorld, verifier, with_policy

BOTH = {1: "active", 2: "pending"}


def test_a_rotation_makes_admits_tells_and_proves_a_key_before_the_old_one_ends() -> None:
    world = KeyWorld()
    world.connect(key=1)
    decision = world.rotate()
    assert decision.job_id == "rotation-1"
    [effect] = world.mint_effects()
    assert (effect.generation, effect.is_given, effect.job_id) == (2, False, "rotation-1")
    assert world.orders() == []
    assert world.admitted() == {1: "active"}
    world.mint()
    assert world.mint_effects() == []
    assert world.admitted() == BOTH
    assert world.told() == WriteAuthorizationKey("rotation-1", 2)
    assert world.admitted() == BOTH
    assert (world.rotation.stage, world.rotation.waiting_for) == ("awaiting-reconnect", "reconnect")
    world.connect(key=2)
    assert world.admitted() == {2: "active"}
    assert world.rotation.state == "succeeded"
    assert world.charger.key_since == world.now
    assert world.charger.instructions == {}


def test_the_key_is_not_told_before_the_record_that_admits_it_can_be_known() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    before = world.charger.revision
    world.mint()
    [order] = outgoing.orders(world.charger, world.facts, world.now)
    assert before < order.admission_revision <= outgoing.admission(world.charger).revision
    record = outgoing.admission(world.charger)
    assert {key.generation for key in record.keys} == {1, 2}


def test_the_key_is_told_when_the_charger_comes() -> None:
    world = KeyWorld()
    world.rotate()
    world.mint()
    assert world.rotation.stage == "awaiting-connection"
    world.connect(key=1)
    assert world.told() == WriteAuthorizationKey("rotation-1", 2)


@pytest.mark.parametrize("status", ["Rejected", "UnknownVariable", "UnknownComponent", "NotSupported"])
def test_a_refusal_leaves_the_old_key_alone(status: str) -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(Answered(status))
    assert world.admitted() == {1: "active"}
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-refused-by-charger")
    assert world.charger.pending_keys == ()


@pytest.mark.parametrize("first", [Silent(), Disconnected()])
def test_a_refusal_after_an_outcome_nobody_knows_withdraws_nothing(first: Outcome) -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(first)
    if isinstance(first, Disconnected):
        world.connect(key=1)
    world.wait_for_order()
    world.told(Answered("Rejected"))
    assert world.admitted() == BOTH
    assert (world.rotation.state, world.rotation.reason_code) == ("open", "key-write-inconclusive")


def test_silence_sends_the_same_key_again_and_never_a_new_one() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    bodies = []
    for _ in range(5):
        world.wait_for_order()
        bodies.append(world.told(Silent()))
    assert set(bodies) == {WriteAuthorizationKey("rotation-1", 2)}
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-unanswered")
    assert world.admitted() == BOTH
    assert world.pending.admit_until is not None


def test_a_lost_connection_sends_the_same_key_again_at_once() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(Disconnected())
    world.connect(key=1)
    assert world.told() == WriteAuthorizationKey("rotation-1", 2)


def test_a_session_with_the_new_key_is_proof_though_the_answer_was_lost() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.connect(key=2)
    assert world.rotation.state == "succeeded"
    assert world.charger.instructions == {}


def test_a_call_error_is_tried_again_and_ends_in_doubt() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    for _ in range(5):
        world.wait_for_order()
        assert world.rotation.state == "open"
        world.told(CallFailed("InternalError", "flash"))
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-write-inconclusive")
    assert world.admitted() == BOTH


def test_a_charger_that_knows_no_such_call_keeps_its_key() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(CallFailed("NotSupported", ""))
    assert world.rotation.reason_code == "key-refused-by-charger"
    assert world.admitted() == {1: "active"}


def test_a_key_that_is_sealed_no_more_ends_its_job() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(CallFailed("SecretGone", ""))
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-gone")


# ---------------------------------------------------------------- coming back


def test_a_charger_that_comes_back_with_the_old_key_is_told_the_same_again_with_back_off() -> None:
    world = KeyWorld()
    world.to_accepted()
    for failures in range(1, 5):
        world.connect(key=1)
        assert (world.rotation.state, world.rotation.reason_code) == ("open", "reconnected-with-old-key")
        assert world.rotation.failures == failures
        assert world.orders() == []
        world.wait_for_order()
        assert world.told() == WriteAuthorizationKey("rotation-1", 2)
    world.connect(key=1)
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "reconnected-with-old-key")
    assert world.admitted() == BOTH
    world.connect(key=2)
    assert world.admitted() == {2: "active"}


def test_a_restated_session_is_no_reconnect() -> None:
    world = KeyWorld()
    session_id = world.to_accepted()
    session = world.charger.session
    assert session is not None
    world.tell(v.NodeLost(node="n1", incarnation="i1"))
    world.tell(
        v.SessionOpened(
            session_id=session_id,
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=2,
            remote_address="192.0.2.1",
            opened_at=session.connected_at,
            key_generation=1,
        )
    )
    assert world.rotation.failures == 0


def test_a_session_older_than_the_last_one_proves_nothing() -> None:
    """Told late by another node: to end the old key for it would cut the session that uses that."""
    world = KeyWorld()
    world.to_accepted()
    earlier = world.now
    world.now += timedelta(seconds=5)
    world.connect(key=1)
    session = world.charger.session
    assert session is not None
    world.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
    world.tell(
        v.SessionOpened(
            session_id="late",
            node="n2",
            incarnation="i2",
            ocpp_version="2.0.1",
            security_profile=2,
            remote_address="192.0.2.1",
            opened_at=earlier,
            key_generation=2,
        )
    )
    assert world.admitted() == BOTH


def test_the_socket_of_a_charger_that_stays_is_closed_once() -> None:
    world = KeyWorld()
    world.to_accepted()
    assert world.orders() == []
    world.wait(seconds=300)
    assert world.orders() == [CloseSession("new password")]
    world.carry_out(Answered("Closed"))
    world.wait(seconds=900)
    assert world.rotation.overdue
    assert world.rotation.reason_code == "not-reconnected-with-new-key"
    assert world.orders() == []
    assert world.admitted() == BOTH
    world.connect(key=2)
    assert world.rotation.state == "succeeded"


def test_a_policy_may_leave_sockets_alone() -> None:
    world = KeyWorld(with_policy(key_close_session_s=0))
    world.to_accepted()
    world.wait(seconds=900)
    assert world.orders() == []
    assert world.rotation.overdue


def test_a_closed_socket_is_not_closed_again_when_the_charger_is_back() -> None:
    """The answer to CloseSession was lost with its node: the new session is what it was for."""
    world = KeyWorld()
    world.to_accepted()
    world.wait(seconds=300)
    [order] = outgoing.orders(world.charger, world.facts, world.now)
    world.tell(
        v.InstructionSent(
            instruction_id=order.instruction_id, decision=order.decision, session_id=order.session_id
        )
    )
    world.connect(key=2)
    assert world.charger.instructions == {}


def test_never_coming_back_is_overdue_and_withdraws_nothing() -> None:
    world = KeyWorld()
    session_id = world.to_accepted()
    world.tell(v.SessionClosed(session_id=session_id, reason="gone"))
    world.wait(days=400)
    assert (world.rotation.state, world.rotation.overdue) == ("open", True)
    assert world.admitted() == BOTH
    world.connect(key=1)
    assert world.admitted() == BOTH


# ---------------------------------------------------------------- reboots


@pytest.mark.parametrize(
    ("policy", "version", "resets"),
    [
        ("when-idle", "2.0.1", True),
        ("when-idle", "1.6", False),
        ("always", "1.6", True),
        ("never", "2.1", False),
    ],
)
def test_a_key_that_needs_a_reboot_gets_one_if_policy_says_so(
    policy: str, version: str, resets: bool
) -> None:
    world = KeyWorld(with_policy(key_reboot=policy))
    world.connect(key=1, version=version)
    world.rotate()
    world.mint()
    world.told(Answered("RebootRequired"))
    assert world.admitted() == BOTH
    assert (world.rotation.waiting_for, world.rotation.reason_code) == ("reboot", "reboot-needed")
    assert world.orders() == ([Reboot("on-idle")] if resets else [])
    if resets:
        world.carry_out()
        assert world.charger.migration is None
    world.connect(key=2)
    assert world.rotation.state == "succeeded"


def test_before_its_reboot_a_charger_may_come_back_with_the_old_key() -> None:
    world = KeyWorld(with_policy(key_reboot="never"))
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(Answered("RebootRequired"))
    world.connect(key=1)
    assert (world.rotation.failures, world.rotation.waiting_for) == (0, "reboot")
    world.connect(key=2)
    assert world.rotation.state == "succeeded"


def test_after_its_reboot_the_old_key_is_told_off() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.told(Answered("RebootRequired"))
    world.carry_out()
    world.connect(key=1)
    assert world.rotation.reason_code == "reconnected-with-old-key"


# ---------------------------------------------------------------- the end of a job, and doubt


def test_a_cancelled_rotation_withdraws_a_key_that_nobody_was_told() -> None:
    world = KeyWorld()
    world.rotate()
    world.mint()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    assert world.admitted() == {1: "active"}
    assert world.mint_effects() == []


def test_a_cancelled_rotation_keeps_admitting_a_key_that_may_be_in_use() -> None:
    world = KeyWorld()
    world.connect(key=1)
    world.rotate()
    world.mint()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    assert world.admitted() == BOTH
    world.connect(key=2)
    assert world.admitted() == {2: "active"}


def test_a_doubted_key_ends_after_its_grace_once_the_other_was_seen() -> None:
    world = KeyWorld()
    session_id = world.to_accepted()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    world.tell(v.SessionClosed(session_id=session_id, reason="gone"))
    world.wait(days=31)
    assert world.admitted() == BOTH, "nothing was seen since: it may be all the charger has"
    world.connect(key=1)
    assert world.admitted() == {1: "active"}


def test_the_old_key_seen_at_once_says_nothing_of_a_doubted_one() -> None:
    """A charger that keeps both and changes over an hour later, on a session that lasts, is not locked out."""
    world = KeyWorld()
    world.to_accepted()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    world.connect(key=1)
    world.wait(days=60)
    assert world.admitted() == BOTH


def test_a_doubted_key_has_its_grace_though_the_other_was_seen() -> None:
    world = KeyWorld()
    world.to_accepted()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    world.connect(key=1)  # so soon it proves nothing: some keep both keys and change over late
    world.now += timedelta(days=2)
    world.connect(key=1)
    assert world.admitted() == BOTH
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due is not None
    assert due <= world.now + timedelta(days=28)
    world.wait(days=28)
    assert world.admitted() == {1: "active"}
    assert "AuthorizationKeyWithdrawn" in world.names()


def test_a_later_rotation_leaves_a_doubted_key_admitted_until_its_own_is_seen() -> None:
    world = KeyWorld()
    world.to_accepted()
    world.command(c.CancelJob(charger_id="CP-1", job_id="rotation-1", reason="no"))
    world.rotate("rotation-2")
    world.mint()
    assert world.told() == WriteAuthorizationKey("rotation-2", 3)
    assert world.admitted() == {1: "active", 2: "pending", 3: "pending"}
    world.connect(key=2)
    assert world.admitted() == {2: "active", 3: "pending"}
    world.wait_for_order()
    world.connect(key=3)
    assert world.admitted() == {3: "active"}


# ---------------------------------------------------------------- what opens a rotation, and what does not


def test_a_second_rotation_is_the_open_one() -> None:
    world = KeyWorld()
    world.rotate()
    assert world.rotate("rotation-2").job_id == "rotation-1"
    refused = world.rotate("rotation-3", is_given=True).refusal
    assert refused is not None
    assert (refused.code, refused.status) == ("rotation-open", 409)


def test_a_charger_with_a_certificate_has_no_key_to_rotate() -> None:
    world = KeyWorld(security_profile=3, target_security_profile=3, key=None)
    refused = world.rotate().refusal
    assert refused is not None
    assert (refused.code, refused.status) == ("no-key-in-use", 409)


def test_a_certificate_in_use_ends_a_rotation() -> None:
    world = KeyWorld(target_security_profile=3)
    world.to_accepted()
    world.connect(profile=3)
    assert world.rotation.state == "cancelled"


def test_a_way_back_from_profile_3_tells_a_key_and_waits_for_profile_2() -> None:
    world = KeyWorld(security_profile=3, target_security_profile=3, key=None)
    world.connect(profile=3)
    draft = Draft(world.charger, world.context())
    assert (
        key_rotation.begin(draft, "return-1", key_rotation.RETURN_FROM_PROFILE_3, "site works") == "return-1"
    )
    world.state = draft.state
    world.jobs.update(draft.jobs_touched)
    world.mint()
    world.told()
    assert world.rotation.waiting_for == key_rotation.AWAITS_PROFILE
    world.wait(days=30)
    assert (world.rotation.state, world.rotation.overdue) == ("open", False)
    world.connect(profile=2, key=1)
    assert world.admitted() == {1: "active"}
    assert world.rotation.state == "succeeded"


def test_retiring_ends_every_key_and_every_rotation() -> None:
    world = KeyWorld()
    world.to_accepted()
    draft = Draft(world.charger, world.context())
    key_rotation.retire_all(draft, "decommissioned")
    world.state = draft.state
    assert world.admitted() == {}
    assert world.charger.jobs == {}
    draft = Draft(world.charger, world.context())
    key_rotation.retire_all(draft, "decommissioned")
    assert draft.events == []


def test_a_key_the_charger_has_already_is_no_rotation() -> None:
    world = KeyWorld()
    world.rotate(is_given=True)
    [effect] = world.mint_effects()
    assert effect.is_given
    world.tell(v.KeyMinted(job_id="rotation-1", generation=2, keys=(verifier(1),)))
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-in-use-already")
    assert world.admitted() == {1: "active"}


def test_a_key_that_is_not_to_be_had_ends_its_job() -> None:
    world = KeyWorld()
    world.rotate(is_given=True)
    world.tell(v.KeyNotMinted(job_id="rotation-1", generation=2, code="key-gone", message="expired"))
    assert (world.rotation.state, world.rotation.reason_code) == ("failed", "key-gone")
    assert world.charger.pending_keys == ()


def test_a_key_is_minted_once() -> None:
    world = KeyWorld()
    world.rotate()
    world.mint()
    world.tell(v.KeyMinted(job_id="rotation-1", generation=2, keys=(verifier(9, "pending"),)))
    assert world.admitted() == BOTH


def test_no_key_is_told_to_a_local_controller() -> None:
    world = KeyWorld()
    world.tell(
        v.SessionOpened(
            session_id="s",
            node="n1",
            incarnation="i1",
            ocpp_version="2.0.1",
            security_profile=2,
            remote_address="192.0.2.1",
            opened_at=world.now,
            flags=("via-local-controller:lc-1",),
        )
    )
    world.rotate()
    world.mint()
    assert world.orders() == []
    assert world.rotation.reason_code == "spoken-for-session"


def test_no_event_names_a_verifier() -> None:
    world = KeyWorld()
    world.to_accepted()
    world.connect(key=2)
    texts = [e.payload_of(event) for event in world.events]  # type: ignore[arg-type]
    assert not any(verifier(generation).verifier in text for generation in (1, 2) for text in texts)
