"""What is known of the charger's own clock: only what its present session shows, since a session may begin by setting it."""

from bfactors import event as e
from bfactors import evidence as v
from bfactors.charger.draft import Draft


def seen(draft: Draft, body: v.ClockSeen) -> None:
    """A message of the live session showed the clock to be wrong, or right again."""
    session = draft.state.session
    if session is None or session.session_id != body.session_id:
        return
    draft.record(
        e.ChargerClockObserved(
            charger_id=draft.state.charger_id, offset_s=body.offset_s, evidence_ref=draft.context.cause
        )
    )
