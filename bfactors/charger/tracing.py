"""A charger's frames on demand: that somebody looks is recorded, what they see is not."""

from datetime import timedelta

from bfactors import command as c
from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.frame_trace import FRAMES_MAX, SECONDS_MAX
from bfactors.refusal import Refusal


def start(draft: Draft, command: c.StartTrace) -> Refusal | None:
    """Begin a trace, in place of one that may be running. The charger need not be connected: its next session counts too."""
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if not 1 <= command.seconds <= SECONDS_MAX:
        return Refusal("invalid-value", f"a trace lasts 1 to {SECONDS_MAX} seconds", "seconds")
    if not 1 <= command.frames <= FRAMES_MAX:
        return Refusal("invalid-value", f"a trace has 1 to {FRAMES_MAX} frames", "frames")
    before = draft.state.trace
    if before is not None and before.trace_id == command.trace_id:
        return None
    draft.record(
        e.TraceStarted(
            charger_id=draft.state.charger_id,
            trace_id=command.trace_id,
            until=draft.now + timedelta(seconds=command.seconds),
            frames=command.frames,
            reason=command.reason,
        )
    )
    return None
