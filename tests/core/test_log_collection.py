"""A log of a charger: asked for once, here only when it is here, and every other end has its reason."""

from datetime import timedelta
from typing import Any

import pytest

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger import clock, inventory, outgoing
from bfactors.charger.decide import Decision
from bfactors.charger.state import JobState
from bfactors.instruction import CollectLog
from bfactors.ocpp import Answered, CallFailed, Disconnected, Silent
from bfactors.policy import Policy
from bfactors.refusal import Refusal
from tests.core.world import World, fleet_facts


def ask(world: World, job_id: str = "job-1", **fields: Any) -> Decision:
    values: dict[str, Any] = {
        "job_id": job_id,
        "log_id": f"log-of-{job_id}",
        "charger_id": "CP-1",
        "log": "security",
        "reason": "looking",
        "secret_id": f"secret-of-{job_id}",
        "ticket_hash": "ab" * 32,
        "credential_hash": "cd" * 32,
        "max_bytes": 1000,
        "expires_at": world.now + timedelta(days=1),
        **fields,
    }
    return world.command(c.RequestLog(**values))


def connected() -> World:
    world = World()
    world.connect()
    return world


def told(world: World, status: str, request_id: int | None = 1001) -> None:
    world.tell(v.LogStatusReported(session_id="s1", status=status, request_id=request_id))


def arrives(world: World, request_id: int = 1001, name: str = "a-stored-log") -> None:
    world.tell(
        v.LogUploaded(
            request_id=request_id,
            sha256="ef" * 32,
            size_bytes=12,
            stored_name=name,
            file_name="secc.log",
            remote_address="192.0.2.1",
        )
    )


def job(world: World, job_id: str = "job-1") -> JobState:
    return world.charger.jobs.get(job_id) or world.jobs[job_id]


def reason(world: World, job_id: str = "job-1") -> tuple[str, str | None]:
    return job(world, job_id).state, job(world, job_id).reason_code


def test_a_log_is_asked_for_uploaded_and_here() -> None:
    world = connected()
    ask(world, oldest="2026-03-01T00:00:00Z")
    assert world.orders() == [
        CollectLog(
            log="security", request_id=1001, secret_id="secret-of-job-1", oldest="2026-03-01T00:00:00Z"
        )
    ]
    world.carry_out(Answered("Accepted", file_name="cp1.log"))
    assert (job(world).stage, job(world).waiting_for) == ("awaiting-external", "upload")
    told(world, "Uploading")
    arrives(world)
    assert reason(world) == ("succeeded", None)
    told(world, "Uploaded")
    (log,) = world.charger.logs
    assert (log.state, log.sha256, log.status) == ("stored", "ef" * 32, "Uploaded")
    listing = inventory.due_at(world.charger, Policy())
    assert clock.next_due(world.charger, world.facts, world.now) == listing
    assert not world.charger.instructions


def test_an_upload_is_enough_without_the_charger_saying_anything() -> None:
    world = connected()
    ask(world)
    arrives(world)
    assert reason(world) == ("succeeded", None)
    assert not world.orders()


def test_a_charger_that_is_away_is_asked_when_it_comes() -> None:
    world = World()
    ask(world)
    assert (job(world).stage, world.orders()) == ("awaiting-connection", [])
    world.connect()
    assert [type(order) for order in world.orders()] == [CollectLog]


def test_uploaded_without_an_upload_is_found_out_after_the_grace_and_not_before() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    told(world, "Uploading")
    told(world, "Uploaded")
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due == world.now + timedelta(seconds=60)
    world.wait(seconds=59)
    assert reason(world) == ("open", None)
    world.wait(seconds=1)
    assert reason(world) == ("failed", "uploaded-without-upload")
    assert world.charger.logs[0].state == "failed"


def test_a_log_that_comes_within_the_grace_is_no_lie() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    told(world, "Uploaded")
    world.wait(seconds=59)
    arrives(world)
    world.wait(seconds=1)
    assert reason(world) == ("succeeded", None)


def test_a_log_that_comes_after_its_job_has_failed_is_kept_all_the_same() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    told(world, "Uploaded")
    world.wait(seconds=60)
    arrives(world)
    assert world.charger.logs[0].state == "stored"
    assert reason(world) == ("failed", "uploaded-without-upload")


def test_a_false_claim_after_a_long_silence_is_found_out_too() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    world.wait(seconds=900)
    assert job(world).overdue
    told(world, "Uploaded")
    world.wait(seconds=60)
    assert reason(world) == ("failed", "uploaded-without-upload")


def test_silence_after_acceptance_is_overdue_and_ends_with_the_ticket() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    world.wait(seconds=900)
    assert (job(world).overdue, job(world).reason_code, job(world).state) == (True, "log-overdue", "open")
    due = clock.next_due(world.charger, world.facts, world.now)
    assert due == job(world).deadline_at
    world.wait(days=1)
    assert reason(world) == ("failed", "log-never-came")


@pytest.mark.parametrize(
    "status",
    ["BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure", "AcceptedCanceled"],
)
def test_an_upload_the_charger_gives_up_fails_with_its_word(status: str) -> None:
    world = connected()
    ask(world)
    world.carry_out()
    told(world, status)
    assert reason(world) == ("failed", "log-upload-failed")
    assert status in (job(world).reason_message or "")


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Answered("Rejected"), "log-refused-by-charger"),
        (CallFailed("NotImplemented"), "log-not-supported"),
        (CallFailed("InternalError", "no"), "log-refused-by-charger"),
        (CallFailed("SecretGone"), "log-refused-by-charger"),
    ],
)
def test_a_charger_that_will_not_upload_ends_the_job(outcome: Any, code: str) -> None:
    world = connected()
    ask(world)
    world.carry_out(outcome)
    assert reason(world) == ("failed", code)
    assert not world.orders()


@pytest.mark.parametrize("outcome", [Silent(), CallFailed("SecretUnavailable")])
def test_what_may_be_different_next_time_is_tried_again_and_not_for_ever(outcome: Any) -> None:
    world = connected()
    ask(world)
    for _ in range(5):
        assert job(world).state == "open"
        world.wait_for_order()
        world.carry_out(outcome)
    assert job(world).state == "failed"
    assert not world.charger.instructions


def test_a_request_lost_with_its_session_is_made_again_under_the_same_number() -> None:
    world = connected()
    ask(world)
    world.carry_out(Disconnected())
    world.connect()
    (order,) = world.orders()
    assert isinstance(order, CollectLog)
    assert order.request_id == 1001


def test_a_request_whose_answer_was_lost_is_settled_by_the_upload_itself() -> None:
    world = connected()
    ask(world)
    (order,) = outgoing.orders(world.charger, world.facts, world.now)
    world.tell(v.InstructionSent(instruction_id=order.instruction_id, decision=1, session_id="s1"))
    told(world, "Uploading")
    assert not world.charger.instructions
    world.connect()
    assert world.orders() == []
    assert job(world).waiting_for == "upload"


def test_a_second_request_ends_the_first_and_their_states_are_not_mixed() -> None:
    world = connected()
    ask(world)
    world.carry_out()
    ask(world, "job-2", log="diagnostics")
    assert reason(world) == ("failed", "log-superseded")
    world.carry_out(Answered("AcceptedCanceled"))
    told(world, "AcceptedCanceled", 1001)
    assert job(world, "job-2").state == "open"
    told(world, "Uploading", 1002)
    arrives(world, 1002)
    assert reason(world, "job-2") == ("succeeded", None)
    assert [log.state for log in world.charger.logs] == ["failed", "stored"]


def test_the_same_request_again_is_the_same_job_and_an_ended_one_is_not_opened_twice() -> None:
    world = connected()
    assert ask(world).job_id == "job-1"
    assert ask(world).job_id == "job-1"
    assert len(world.charger.logs) == 1
    arrives(world)
    refusal = ask(world).refusal
    assert isinstance(refusal, Refusal)
    assert refusal.code == "job-ended"


def test_the_same_upload_told_twice_counts_once() -> None:
    world = connected()
    ask(world)
    arrives(world)
    arrives(world)
    assert world.names().count("LogStored") == 1


def test_a_charger_of_16_that_gives_no_number_means_the_open_request() -> None:
    world = World(ocpp_versions=("1.6",))
    world.connect(version="1.6")
    ask(world)
    world.carry_out()
    told(world, "Idle", None)
    told(world, "Uploaded", None)
    assert world.charger.logs[0].claimed_at == world.now


def test_a_status_of_an_upload_nobody_here_asked_for_is_recorded_and_moves_nothing() -> None:
    world = connected()
    ask(world)
    told(world, "Uploaded", 7)
    assert job(world).waiting_for == "charger"
    statuses = [event for event in world.events if isinstance(event, e.LogStatusChanged)]
    assert [(event.job_id, event.request_id) for event in statuses] == [(None, 7)]


def test_a_request_given_up_by_an_operator_is_not_sent_any_more() -> None:
    world = World()
    ask(world)
    world.command(c.CancelJob(charger_id="CP-1", job_id="job-1", reason="never mind"))
    world.connect()
    assert world.orders() == []
    assert world.charger.logs[0].state == "failed"


def test_a_paused_family_is_not_asked_for_logs() -> None:
    world = connected()
    paused = c.SetSupervisorState(kind="family", name="acme-one", action="pause", reason="night")

    world.facts = fleet_facts(paused)
    ask(world)
    assert (job(world).stage, job(world).held_by) == ("held", "family/acme-one")


def test_no_event_of_a_request_holds_more_of_the_address_than_hashes() -> None:
    world = connected()
    ask(world)
    for event in world.events:
        assert "http" not in e.payload_of(event).replace("wss://", "")  # type: ignore[arg-type]
