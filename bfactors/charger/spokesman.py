"""A local controller or proxy that speaks for chargers behind it: who may, as said for each of those chargers.

What such a session is opened with is the controller's: it activates no certificate of the charger, proves no profile of it
and is compared with no name of it.
"""

from bfactors import command as c
from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.state import certificate_by_fingerprint
from bfactors.refusal import Refusal

SPEAKERS_MAX = 8


def named(draft: Draft, command: c.SetSpokenFor) -> Refusal | None:
    """Take the list in place of the one before."""
    speakers = tuple(
        sorted(set(command.speakers), key=lambda one: (one.controller_id, one.fingerprint_sha256))
    )
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if len(speakers) > SPEAKERS_MAX:
        return Refusal("invalid-value", f"a charger has {SPEAKERS_MAX} speakers at most", "controllers")
    if len({one.fingerprint_sha256 for one in speakers}) < len(speakers):
        return Refusal("invalid-value", "one certificate belongs to one controller", "controllers")
    for one in speakers:
        if certificate_by_fingerprint(draft.state, one.fingerprint_sha256) is not None:
            message = "this is a certificate of the charger itself, which needs nobody to speak for it"
            return Refusal("own-certificate", message, "controllers", 409)
    if speakers != draft.state.spoken_for_by:
        draft.record(
            e.SpokenForSet(charger_id=draft.state.charger_id, speakers=speakers, reason=command.reason)
        )
    return None
