"""A charger that comes with the certificate its factory gave it: let in for an own one, and for nothing else.

It is let in if policy allows it, its family's factory CAs are known, it is registered for profile 3, and this unit has never
used a certificate here: whoever revokes or deactivates what a charger uses is not to see it come back under its factory's. Its
leaf becomes a tracked certificate (`inventory.adopt`); unless policy only tracks, an own one is ordered at once.
Source: OCPP 2.0.1 A00.FR.807 (Pending until it has its own), A02.
"""

from bfactors import evidence as v
from bfactors.admission import FACTORY_FLAG
from bfactors.charger import request
from bfactors.charger.draft import Draft
from bfactors.charger.prerequisite import CLIENT_CERTIFICATE_PROFILE
from bfactors.charger.state import CertificateRecord, ChargerState, open_issue
from bfactors.command import RequestJob
from bfactors.fleet.state import FleetFacts
from bfactors.policy import TRACKED_ONLY, Policy
from bfactors.purpose import session_purpose

ALLOWED = "allowed"
DUE_REASON = "first-contact"


def anchors_of(state: ChargerState, facts: FleetFacts, policy: Policy) -> tuple[str, ...]:
    """Fingerprints of the factory CAs under which an unknown leaf lets this charger in now."""
    if policy.factory_certificate != ALLOWED or state.security_profile < CLIENT_CERTIFICATE_PROFILE:
        return ()
    if any(_was_used(certificate) for certificate in state.certificates.values()):
        return ()
    known = facts.families.get(state.family)
    return () if known is None else tuple(anchor.fingerprint_sha256 for anchor in known.factory_anchors)


def _was_used(certificate: CertificateRecord) -> bool:
    """Whether this unit came with it; the latest that ended are remembered for as long as there are any."""
    is_of_unit = not certificate.former_identity_id and certificate.purpose == session_purpose().name
    return is_of_unit and certificate.activated_at is not None


def session_opened(draft: Draft, body: v.SessionOpened) -> None:
    """Have it get a certificate of its own."""
    purpose = session_purpose().name
    if FACTORY_FLAG not in body.flags or draft.policy(purpose).mode == TRACKED_ONLY:
        return
    if open_issue(draft.state, purpose) is None:
        request.open_job(
            draft,
            RequestJob(
                job_id=draft.derived_id(DUE_REASON),
                charger_id=draft.state.charger_id,
                purpose=purpose,
                action="issue",
                reason="it came with the certificate of its factory",
                due_reason=DUE_REASON,
            ),
        )
