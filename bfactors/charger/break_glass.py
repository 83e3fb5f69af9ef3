"""What is done to one charger past the rules, held back until somebody else agrees where policy says so (`break-glass`).

These are: letting it in with its expired certificate, and giving up a migration in quarantine that leaves it below profile 3.
Taking the first back, and trying the second again, are not. As in the fleet's partition the held command is the approval's own
content. To add one: a line in `_DONE_BY`, and `may_be_held=True` at its route.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bfactors import command as c
from bfactors.approval import Approval, ApprovalState, content_of, problem
from bfactors.charger import approval, expired, migration
from bfactors.charger.draft import Draft
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal

KIND = "break-glass"
MOST_OPEN = 4
Held = c.AdmitExpired | c.ReleaseMigration
_SYSTEM = "system:"
_DONE_BY: Mapping[type, Callable[[Draft, Any], Refusal | None]] = {
    c.AdmitExpired: expired.admit,
    c.ReleaseMigration: migration.released,
}


def is_held(draft: Draft, command: Held) -> bool:
    """Whether somebody else must agree first."""
    if draft.context.actor.startswith(_SYSTEM):
        return False
    match command:
        case c.AdmitExpired():
            is_past_the_rules = command.until is not None
        case _:
            is_past_the_rules = command.ends and draft.state.security_profile < CLIENT_CERTIFICATE_PROFILE
    return is_past_the_rules and KIND in draft.policy(session_purpose().name).approvals_needed


def done_or_held(draft: Draft, command: Held) -> Refusal | str | None:
    """Do it, or ask: then the id of the approval it waits for. What could not be done is not asked for."""
    do = _DONE_BY[type(command)]
    if not is_held(draft, command):
        return do(draft, command)
    trial = Draft(draft.state, draft.context)
    refusal = do(trial, command)
    if refusal is not None or not trial.events:
        return refusal
    content = msgspec.to_builtins(command)
    _, digest = content_of(KIND, draft.state.charger_id, content)
    opened = [each for each in draft.state.approvals.values() if each.state == "open" and not each.job_id]
    for each in opened:
        if each.content_hash == digest:
            return each.approval_id
    if len(opened) >= MOST_OPEN:
        message = f"{MOST_OPEN} approvals of this charger are open; decide on them, or withdraw them"
        return Refusal("too-many-approvals", message, status=409)
    approval_id = f"approval-{draft.derived_id('break-glass', digest)[:26]}"
    approval.ask(draft, approval_id, KIND, "", content, command.reason)
    return approval_id


def decided(draft: Draft, command: c.DecideApproval) -> Refusal | None:
    """Somebody's word on an approval; one that holds a command has it carried out in the same transaction.

    A refusal may come with an event: that the approval is over, because what it held cannot be done any more.
    """
    asked = draft.state.approvals.get(command.approval_id)
    if asked is None or asked.job_id:
        return approval.decided(draft, command)
    refusal = problem(asked, draft.context.actor, command.content_hash, draft.now, command.verdict)
    if refusal is not None:
        return refusal
    if command.verdict != "approve":
        over: ApprovalState = "rejected" if command.verdict == "reject" else "withdrawn"
        approval.end(draft, asked, over, command.reason)
        return None
    held = _held(asked)
    author = msgspec.structs.replace(draft.context, actor=asked.author)
    refusal = _DONE_BY[type(held)](Draft(draft.state, author), held)
    if refusal is not None:
        message = f"it cannot be done any more: {refusal.message}"
        approval.end(draft, asked, "stale", message)
        return msgspec.structs.replace(refusal, message=message, status=409)
    approval.end(draft, asked, "approved", command.reason)
    approver, draft.context = draft.context, author
    _DONE_BY[type(held)](draft, held)
    draft.context = approver
    return None


def _held(asked: Approval) -> Held:
    content = msgspec.json.decode(asked.content)["content"]
    held: Held = msgspec.convert(content, Held)
    return held
