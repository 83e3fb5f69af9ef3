"""From profile 2 to profile 3: the instructions that make a charger reconnect with its new certificate.

OCPP 2: SetNetworkProfile writes the new slot, the priority puts it before the old one, a Reset lets the charger boot on it.
OCPP 1.6: the key SecurityProfile is raised, and a Reset makes it count. The old profile stays admitted until the first
session with the new one. Source: A05, B09, B10; whitepaper "Improved security for OCPP 1.6-J", A05.
"""

from datetime import timedelta

from bfactors.charger.draft import Draft
from bfactors.charger.state import JobState
from bfactors.instruction import RaiseSecurityProfile, Reboot, SetNetworkProfile, SetProfilePriority

CLIENT_CERTIFICATE_PROFILE = 3
RESTING = "profile-migration"
"""What a job waits for whose charger is not to leave profile 2."""
OLD_SLOT = 1
NEW_SLOT = 2


def pursue(draft: Draft, job: JobState) -> None:
    """Open the next step of the migration this job carries, or wait for the reconnect."""
    state = draft.state
    if state.session is None and (state.migration is None or state.migration.step != "reboot"):
        draft.stage(job, "awaiting-reconnect", waiting_for="connection", due_at=job.due_at)
        return
    policy = draft.policy(job.purpose)
    if job.failures >= policy.max_attempts:
        draft.fail(
            job, job.reason_code or "migration-refused", job.reason_message or "the charger refused it"
        )
        return
    step = (
        state.migration.step if state.migration is not None and state.migration.job_id == job.job_id else None
    )
    if state.session is not None and state.session.ocpp_version == "1.6":
        _next_step_of_16(draft, job, step)
    else:
        _next_step(draft, job, step)
    due = job.due_at
    if due is None or job.stage != "awaiting-reconnect":
        due = draft.now + timedelta(seconds=policy.reconnect_wait_s)
    waiting_for = "reconnect" if step == "reboot" else "charger"
    reason = (job.reason_code, job.reason_message or "") if job.reason_code and job.failures else None
    draft.stage(job, "awaiting-reconnect", waiting_for=waiting_for, reason=reason, due_at=due)


def _next_step_of_16(draft: Draft, job: JobState, step: str | None) -> None:
    if step is None:
        draft.open_instruction(job, RaiseSecurityProfile(CLIENT_CERTIFICATE_PROFILE))
    elif step == "raise-security-profile":
        # the conformance tool expects a hard reset; a soft one need not re-read the key (TC_083)
        draft.open_instruction(job, Reboot(when="immediate"))


def _next_step(draft: Draft, job: JobState, step: str | None) -> None:
    match step:
        case None:
            body = SetNetworkProfile(
                slot=NEW_SLOT, url=draft.context.ocpp_url, security_profile=CLIENT_CERTIFICATE_PROFILE
            )
            draft.open_instruction(job, body)
        case "set-network-profile":
            draft.open_instruction(job, SetProfilePriority(slots=(NEW_SLOT, OLD_SLOT)))
        case "set-profile-priority":
            draft.open_instruction(job, Reboot(when="on-idle"))
        case _:
            pass
