"""The steps of a migration case, each sent when the one before is done, and what a charger's answers to them mean.

OCPP 2: a network slot is written, the priority puts it before the old one, a Reset lets the charger boot on it. A slot in
use is never written (B09.FR.21): the priority is narrowed to the old one first. OCPP 1.6: the key SecurityProfile is
raised, and a hard Reset makes it count, because a soft one need not re-read the key (TC_083).
"""

from datetime import timedelta
from typing import assert_never

from bfactors import command as c
from bfactors import event as e
from bfactors.charger import (
    blackout_hold,
    key_rotation,
    migration,
    request,
    rollback,
    setting_fact,
    trust_gate,
)
from bfactors.charger.draft import Draft, back_off, described
from bfactors.charger.evolve_migration import CLEAR_PRIORITY
from bfactors.charger.network_slot import choose, slots_in
from bfactors.charger.pause import holder
from bfactors.charger.prerequisite import (
    CERTIFICATE,
    CLIENT_CERTIFICATE_PROFILE,
    TRUST_ANCHOR,
    Prerequisite,
    Question,
    check,
    next_profile,
)
from bfactors.charger.state import ChargerState, InstructionState, JobState, MigrationState, open_issue
from bfactors.instruction import (
    OperationalKind,
    RaiseSecurityProfile,
    ReadSettings,
    Reboot,
    SetNetworkProfile,
    SetProfilePriority,
    kind_name,
)
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.purpose import session_purpose

_KINDS = (ReadSettings, SetNetworkProfile, SetProfilePriority, RaiseSecurityProfile, Reboot)
_DONE = frozenset({"Accepted", "Scheduled", "RebootRequired"})
_MOST_DECISIONS = 5
_REFUSED_BECAUSE = {
    "NoSecurityDowngrade": "security-downgrade-refused",
    "InvalidConfSlot": "network-slot-invalid",
    "InvalidNetworkConf": "network-configuration-invalid",
    "PriorityNetworkConf": "network-slot-in-use",
}
"""What a charger's reason code (2.1, and the errata of 2.0.1) makes of a refusal; others are `<kind>-refused`."""


def under_way(draft: Draft) -> tuple[MigrationState, JobState] | None:
    """The case and its job, if there is one to work on."""
    case = draft.state.migration
    if case is None or not case.is_under_way:
        return None
    job = draft.state.jobs.get(case.job_id)
    return (case, job) if job is not None else None


def asked(draft: Draft) -> Question:
    """What the prerequisites of the case's next stage are judged by."""
    state = draft.state
    target = state.migration.target_profile if state.migration is not None else state.target_security_profile
    policy = draft.policy(session_purpose().name)
    return Question(state, draft.context.facts, policy, next_profile(state, target), draft.now)


# ---------------------------------------------------------------- towards the first step


def want_certificate(draft: Draft) -> bool:
    """Have the certificate brought that the next stage needs, once per case: a second try is an operator's to start.

    Returns whether a job was opened for it.
    """
    found = under_way(draft)
    if found is None or found[0].state != "pending" or found[0].certificate_job_id is not None:
        return False
    case, job = found
    if CERTIFICATE not in case.missing or holder(draft, job) is not None:
        return False
    name = session_purpose().name
    issue = open_issue(draft.state, name)
    is_new = issue is None
    if issue is None:
        opened = request.open_job(
            draft,
            c.RequestJob(
                job_id=draft.derived_id("certificate-for-migration", case.job_id),
                charger_id=draft.state.charger_id,
                purpose=name,
                action="issue",
                reason=f"for the migration to profile {CLIENT_CERTIFICATE_PROFILE}",
            ),
        )
        issue = draft.state.jobs.get(opened) if isinstance(opened, str) else None
    if issue is not None:
        draft.record(
            e.MigrationCertificateWanted(
                charger_id=draft.state.charger_id, job_id=case.job_id, certificate_job_id=issue.job_id
            )
        )
    return is_new


def pursue(draft: Draft) -> None:
    """Bring the charger's case to where it can be now."""
    found = under_way(draft)
    if found is None:
        return
    case, job = found
    match case.state:
        case "quarantine":
            reason = (case.reason_code or "quarantine", case.reason_message or "")
            draft.stage(job, "held", held_by="quarantine", reason=reason)
        case "pending":
            _prepare(draft, case, job)
        case "active":
            _take_step(draft, case, job)
        case "rollback":
            _go_back(draft, case, job)
        case _:
            pass


def _go_back(draft: Draft, case: MigrationState, job: JobState) -> None:
    """A way back has no prerequisites but its own; a charger that refuses its steps is left to somebody on site."""
    policy = draft.policy(session_purpose().name)
    may_tell = rollback.pursue(draft, case, job)
    if not may_tell or job.job_id not in draft.state.jobs or case.awaits_reconnect:
        return
    if case.failures >= policy.max_attempts:
        reason = ("rollback-on-site", f"the charger does not go back over OCPP: {case.reason_message}")
        draft.stage(job, "awaiting-external", waiting_for="visit", reason=reason)
        return
    _send_next(draft, case, draft.state.jobs[job.job_id])


def _prepare(draft: Draft, case: MigrationState, job: JobState) -> None:
    question = asked(draft)
    missing = [one for one in check(question) if not one.is_met]
    if missing:
        _hold(draft, case, job, missing)
        return
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    if draft.state.session is None:
        draft.stage(job, "awaiting-connection", waiting_for="connection", reason=_why(case))
        return
    draft.withdraw_instructions(job.job_id)
    draft.record(
        e.MigrationStarted(
            charger_id=draft.state.charger_id,
            job_id=job.job_id,
            to_profile=question.to_profile,
            not_before=case.not_before,
        )
    )
    started = under_way(draft)
    assert started is not None
    _take_step(draft, *started)


def _hold(draft: Draft, case: MigrationState, job: JobState, missing: list[Prerequisite]) -> None:
    """Say what is missing; the trust anchors are brought by the case itself, the certificate by its own job."""
    codes = tuple(one.code for one in missing)
    if case.state == "active":
        draft.withdraw_instructions(job.job_id)
    if codes != case.missing:
        draft.record(
            e.MigrationHeld(
                charger_id=draft.state.charger_id,
                job_id=job.job_id,
                missing=codes,
                reason_code=missing[0].code,
                reason_message=missing[0].message,
            )
        )
    name = session_purpose().name
    wanted = case.certificate_job_id
    if CERTIFICATE in codes and wanted is not None and wanted not in draft.state.jobs:
        message = "the job for the certificate that the new profile needs came to nothing"
        migration.quarantine(draft, "certificate-job-failed", message)
        pursue(draft)
        return
    bundle = asked(draft).bundle
    if TRUST_ANCHOR in codes and CERTIFICATE not in codes and bundle is not None:
        held = holder(draft, job)
        if held is not None:
            draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        elif trust_gate.bring(draft, job, bundle, draft.policy(name)):
            trust_gate.confirm(draft, bundle, draft.policy(name).confirm_rung)
            pursue(draft)
        return
    draft.stage(job, "held", held_by=f"prerequisite/{codes[0]}", reason=(missing[0].code, missing[0].message))


def _why(case: MigrationState) -> tuple[str, str] | None:
    return (case.reason_code, case.reason_message or "") if case.reason_code is not None else None


# ---------------------------------------------------------------- the steps


def _take_step(draft: Draft, case: MigrationState, job: JobState) -> None:
    policy = draft.policy(session_purpose().name)
    if case.awaits_reconnect:
        due = job.due_at
        if due is None or job.stage != "awaiting-reconnect":
            due = draft.now + timedelta(seconds=policy.reconnect_wait_s)
        draft.stage(job, "awaiting-reconnect", waiting_for="reconnect", reason=_why(case), due_at=due)
        return
    missing = [one for one in check(asked(draft)) if not one.is_met]
    if missing:  # not any more: better no step than one that leads nowhere
        _hold(draft, case, job, missing)
        return
    _send_next(draft, case, job)


def _send_next(draft: Draft, case: MigrationState, job: JobState) -> None:
    held = holder(draft, job)
    if held is not None:
        draft.stage(job, "held", held_by=held[0], reason=("paused", held[1]))
        return
    rotation = key_rotation.open_rotation(draft.state)
    if rotation is not None and rotation.waiting_for != key_rotation.AWAITS_PROFILE:
        message = "the charger is being given another AuthorizationKey; one thing at a time"
        draft.stage(job, "held", held_by=f"job/{rotation.job_id}", reason=("key-rotation-first", message))
        return
    session = draft.state.session
    if session is None:
        draft.stage(job, "awaiting-connection", waiting_for="connection", reason=_why(case))
        return
    case, body = _next_step(draft, case, session.ocpp_version)
    if isinstance(body, Reboot | RaiseSecurityProfile) and blackout_hold.hold(draft, job):
        return
    delay = max(case.not_before - draft.now, timedelta(0)) if case.not_before is not None else timedelta(0)
    draft.open_instruction(job, body, delay=delay)
    draft.stage(job, "awaiting-reconnect", waiting_for="charger", reason=_why(case))


def _next_step(
    draft: Draft, case: MigrationState, ocpp_version: str
) -> tuple[MigrationState, OperationalKind]:
    if ocpp_version == "1.6":
        if case.step == "raise-security-profile":
            return case, Reboot(when="immediate")
        return case, RaiseSecurityProfile(case.to_profile)
    if case.new_slot == 0:
        known = draft.state.capabilities.network_slots
        if case.step == "" and not (known and case.priority):
            return case, ReadSettings(setting_fact.READ)
        case = _choose_slots(draft, case, case.priority)
    match case.step:
        case "set-network-profile":
            return case, SetProfilePriority(slots=(case.new_slot, case.old_slot))
        case "set-profile-priority":
            return case, Reboot(when="on-idle")
        case "" | "read-settings" if case.new_slot in case.priority:
            return case, SetProfilePriority(slots=(case.old_slot,))
        case _:
            assert case.step in ("", "read-settings", CLEAR_PRIORITY), case.step
            url = draft.context.ocpp_url
            return case, SetNetworkProfile(slot=case.new_slot, url=url, security_profile=case.to_profile)


def _choose_slots(draft: Draft, case: MigrationState, priority: tuple[int, ...]) -> MigrationState:
    known = draft.state.capabilities.network_slots
    old, new = choose(priority, known, in_use=case.old_slot, refused=case.refused_slots)
    draft.record(
        e.MigrationSlotsChosen(
            charger_id=draft.state.charger_id,
            job_id=case.job_id,
            priority=priority,
            old_slot=old,
            new_slot=new,
        )
    )
    chosen = draft.state.migration
    assert chosen is not None
    return chosen


# ---------------------------------------------------------------- answers


def owns(state: ChargerState, instruction: InstructionState) -> bool:
    """Whether an instruction is a step of the charger's case."""
    case = state.migration
    return (
        case is not None
        and case.state in ("active", "rollback")
        and instruction.job_id == case.job_id
        and isinstance(instruction.body, _KINDS)
    )


def answered(draft: Draft, instruction: InstructionState, outcome: Outcome) -> None:
    """A step's call ended."""
    body = instruction.body
    match outcome:
        case Answered() if outcome.status in _DONE:
            draft.settle(instruction, "accepted", outcome.status)
            if isinstance(body, ReadSettings):
                setting_fact.learn(draft, outcome)
                _note_priority(draft, outcome)
        case Answered() | CallFailed():
            detail = described(outcome)
            draft.settle(instruction, "rejected" if isinstance(outcome, Answered) else "call-error", detail)
            if not isinstance(body, ReadSettings):  # one who tells nothing is taken to be like most
                _refused(draft, body, outcome, detail)
        case Silent() | Disconnected() if isinstance(body, Reboot):
            # the reset shows itself by what follows
            word = "disconnected" if isinstance(outcome, Disconnected) else "no answer"
            draft.settle(instruction, "unknown", word)
        case Disconnected():
            pass  # outstanding; the next session decides
        case Silent() if instruction.decision >= _MOST_DECISIONS or isinstance(body, ReadSettings):
            draft.settle(instruction, "silent", "no answer")
            if not isinstance(body, ReadSettings):
                kind = kind_name(body)
                migration.set_back(draft, f"{kind}-unanswered", f"the charger never answered {kind}")
        case Silent():
            draft.repeat_instruction(instruction, delay=back_off(instruction.decision))
        case _:
            assert_never(outcome)


def _note_priority(draft: Draft, outcome: Answered) -> None:
    told = {setting.name: setting.value for setting in outcome.settings}
    priority = slots_in(told.get("network-priority"))
    case = draft.state.migration
    if priority and case is not None:
        _choose_slots(draft, case, priority)


def _refused(draft: Draft, body: OperationalKind, outcome: Answered | CallFailed, detail: str) -> None:
    kind = kind_name(body)
    named = _REFUSED_BECAUSE.get(outcome.reason_code or "") if isinstance(outcome, Answered) else None
    slot = body.slot if isinstance(body, SetNetworkProfile) and named == "network-slot-invalid" else None
    message = f"the charger did not carry out {kind}: {detail}"
    migration.set_back(draft, named or f"{kind}-refused", message, refused_slot=slot)
