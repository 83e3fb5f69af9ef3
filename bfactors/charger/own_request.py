"""A charger that asks for a certificate by itself (A03): when it gets one, and when its wish is held back.

Some renew at every boot while their certificate ends within a month. The answer to SignCertificate is Accepted in any case:
a Rejected would say that the CSR is bad, and have some chargers give up what they need (A02.FR.20/21).
"""

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.charger.evolve_job import A_DAY
from bfactors.charger.pause import is_close_to_its_end
from bfactors.charger.state import slot_key
from bfactors.policy import TRACKED_ONLY
from bfactors.purpose import purpose as purpose_of
from bfactors.x509 import SigningRequest


def is_held_back(draft: Draft, purpose: str, part: str, found: SigningRequest) -> bool:
    """Whether this CSR, which no job waits for, goes no further; it is on record once an hour."""
    problem = _problem(draft, purpose, part, found)
    if problem is None:
        return False
    last = draft.state.held_back_at
    if last is None or (draft.now - last).total_seconds() >= 3600:
        draft.record(
            e.CSRHeldBack(
                charger_id=draft.state.charger_id,
                purpose=purpose,
                csr_fingerprint=found.fingerprint_sha256,
                reason=problem[0],
                message=problem[1],
                policy_version=draft.context.facts.policies.version,
            )
        )
    return True


def _problem(draft: Draft, purpose: str, part: str, found: SigningRequest) -> tuple[str, str] | None:
    state, policy = draft.state, draft.policy(purpose)
    if policy.mode == TRACKED_ONLY:
        return (
            TRACKED_ONLY,
            "policy has certificates of this purpose tracked only: nothing is issued for them",
        )
    name = slot_key(purpose, "default", part)
    slot = state.slots.get(name)
    current = state.certificates.get(slot.current) if slot is not None and slot.current else None
    if current is None or is_close_to_its_end(
        state, name, policy, draft.now, opens_sessions=purpose_of(purpose).is_session_credential
    ):
        return None
    if current.spki_sha256 == found.spki_sha256:
        return "key-has-certificate", "the charger uses the certificate of this key already"
    counted = state.part_renewals.get(name, ()) if part else state.own_renewals
    recent = [at for at in counted if draft.now - at < A_DAY]
    if 0 < policy.own_renewals_per_day <= len(recent):
        return "too-many-renewals", f"the charger has renewed by itself {len(recent)} times within a day"
    return None
