"""Fleet commands that a second person must agree to: held back, decided on, carried out as they were approved.

The held command is the approval's own content: when somebody else agrees, it is read from there and carried out in the same
transaction, so nothing that is sent again can differ from what was read. It ends without that when it is rejected, withdrawn
by its author, not decided on in time, or when the state it was written against has changed (`stale`).

To add a kind: one file in `bfactors/fleet/approvable/` with an `ApprovalKind` (which commands, whose policy counts, what it was
written against), its name in `bfactors.approval.KIND_NAMES`, and one line in `KINDS` below. The command itself is decided where
all fleet commands are (`bfactors.fleet.decide`); its route says `may_be_held=True`, which makes the edge answer 202.
The system's own commands (settings at start) are not held: who sets them runs the process.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from bfactors import approval_record
from bfactors import command as c
from bfactors import event as e
from bfactors.approval import CONTENT_MAX_CHARS, Approval, ApprovalState, content_of, problem
from bfactors.fleet.approvable import incident, policy, rollover, trust_anchor_bundle, waiver
from bfactors.fleet.approvable.kind import ApprovalKind
from bfactors.fleet.state import FleetFacts
from bfactors.refusal import Refusal

KINDS: tuple[ApprovalKind, ...] = (
    policy.KIND,
    trust_anchor_bundle.KIND,
    waiver.KIND,
    incident.KIND,
    rollover.KIND,
)
SYSTEM = "system:"
"""How the system's own actors begin; an operator's begins otherwise, whatever the operator is called."""
MOST_OPEN = 50
_ENDED_KEPT = MOST_OPEN
_BY_COMMAND: Mapping[type, ApprovalKind] = {command: kind for kind in KINDS for command in kind.commands}
_BY_NAME: Mapping[str, ApprovalKind] = {kind.name: kind for kind in KINDS}

Approvals = Mapping[str, Approval]
Events = tuple[e.FleetEvent, ...]


def kind_of(facts: FleetFacts, command: Any, actor: str, now: datetime) -> ApprovalKind | None:
    """The kind of approval that the command needs; None: it is done at once."""
    kind = _BY_COMMAND.get(type(command))
    if kind is None or actor.startswith(SYSTEM):
        return None
    return kind if kind.is_needed(facts, command, now) else None


def ask(
    approvals: Approvals,
    facts: FleetFacts,
    kind: ApprovalKind,
    command: c.Command,
    actor: str,
    now: datetime,
    revision: int,
    would_be: Events,
) -> tuple[Approval, Events] | Refusal:
    """The approval that the command waits for; the one that is open already, if the same was asked for.

    `would_be`: what doing it at once would have recorded.
    """
    content = {name: value for name, value in msgspec.to_builtins(command).items() if name not in kind.ageing}
    text, digest = content_of(kind.name, kind.subject(command), content, kind.basis(facts, command))
    opened = [each for each in approvals.values() if each.state == "open"]
    for each in opened:
        if each.content_hash == digest:
            return each, ()
    if len(text) > CONTENT_MAX_CHARS:
        message = f"what is to be approved is longer than {CONTENT_MAX_CHARS} characters"
        return Refusal("too-large", message)
    if len(opened) >= MOST_OPEN:
        message = f"{MOST_OPEN} approvals are open; decide on some, or withdraw them"
        return Refusal("too-many-approvals", message, status=409)
    event = e.ApprovalRequested(
        charger_id=None,
        approval_id="approval-" + hashlib.sha256(f"{digest}\x1f{revision}".encode()).hexdigest()[:26],
        kind=kind.name,
        job_id="",
        content=text,
        content_hash=digest,
        author=actor,
        reason=str(getattr(command, "reason", "") or getattr(command, "note", "")),
        expires_at=now + timedelta(hours=kind.policy(facts, command).approval_valid_hours),
    )
    approval = approval_record.asked(event, now)
    return approval, (event, *kind.asked(would_be))


def held_command(approval: Approval) -> Any:
    """The command as it was read by whoever approved it."""
    content = msgspec.json.decode(approval.content)["content"]
    return msgspec.convert(content, reduce(or_, _BY_NAME[approval.kind].commands))


def command_of(approval: Approval, afresh: Mapping[str, int]) -> Any:
    """The held command as it is carried out: with what has aged read `afresh`, and nothing else different."""
    ageing = _BY_NAME[approval.kind].ageing
    return msgspec.structs.replace(
        held_command(approval), **{name: afresh[name] for name in ageing if name in afresh}
    )


def stays_open(approval: Approval, refusal: Refusal) -> bool:
    """Whether it may be approved a little later: what stood in its way passes by itself."""
    return refusal.code in _BY_NAME[approval.kind].passing


def decided(
    approvals: Approvals, command: c.DecideFleetApproval, actor: str, now: datetime
) -> Approval | Refusal:
    """The approval that this person can decide on now."""
    approval = approvals.get(command.approval_id)
    if approval is None:
        return Refusal("unknown-approval", "there is no such approval", "approval_id", 404)
    refusal = problem(approval, actor, command.content_hash, now, command.verdict)
    return approval if refusal is None else refusal


def end(approval: Approval, state: ApprovalState, actor: str, reason: str) -> Events:
    """What ends it; with what its kind says beside that, unless it was approved."""
    event = e.ApprovalDecided(
        charger_id=None,
        approval_id=approval.approval_id,
        job_id=approval.job_id,
        content_hash=approval.content_hash,
        state=state,
        decided_by=actor,
        reason=reason,
    )
    if state == "approved":
        return (event,)
    over = approval_record.ended(approval, event, approval.requested_at)
    return (event, *_BY_NAME[approval.kind].not_given(held_command(approval), over))


def overtaken(approvals: Approvals, facts: FleetFacts) -> Events:
    """The end of open ones whose state is another now than when they were written."""
    found: list[e.FleetEvent] = []
    for approval in approvals.values():
        if approval.state != "open":
            continue
        written = msgspec.json.decode(approval.content).get("basis", "")
        present = _BY_NAME[approval.kind].basis(facts, held_command(approval))
        if written != present:
            reason = f"it was written against {written}, and now there is {present}; ask again"
            found += end(approval, "stale", "ledger", reason)
    return tuple(found)


def lapsed(approvals: Approvals, now: datetime) -> Events:
    """The end of open ones that nobody decided on in time."""
    return tuple(
        event
        for approval in approvals.values()
        if approval.state == "open" and approval.expires_at <= now
        for event in end(approval, "expired", "clock", "nobody decided on it in time")
    )


def moments(approvals: Approvals) -> Iterator[datetime]:
    """When open ones lapse."""
    return (approval.expires_at for approval in approvals.values() if approval.state == "open")


def changed(
    approvals: Approvals, event: e.ApprovalRequested | e.ApprovalDecided, now: datetime
) -> dict[str, Approval]:
    """The approvals after the event: every open one, and the last that ended; as many as can end in one decision."""
    after = dict(approvals)
    if isinstance(event, e.ApprovalRequested):
        after[event.approval_id] = approval_record.asked(event, now)
    elif event.approval_id in after:
        after[event.approval_id] = approval_record.ended(after[event.approval_id], event, now)
    over = [approval for approval in after.values() if approval.state != "open"]
    for approval in sorted(over, key=lambda each: each.decided_at or now)[:-_ENDED_KEPT]:
        del after[approval.approval_id]
    return after


def news(before: Approvals, after: Approvals) -> list[Approval]:
    """Those that are new or were decided."""
    return [approval for key, approval in after.items() if before.get(key) is not approval]
