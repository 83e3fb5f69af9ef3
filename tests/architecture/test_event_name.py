"""The ledger's events carry the names and fields the house document fixes; others may only add."""

import msgspec

from bfactors import event as e

FIXED = {
    "CertificateRequested": {"jobId", "managedIdentityId", "purpose", "reason"},
    "CSRValidated": {"jobId", "csrFingerprint", "subjectKeyId"},
    "CSRRefused": set(),
    "CertificateIssued": {"jobId", "certificateId", "issuingCaId", "notBefore", "notAfter"},
    "CertificateInstallRequested": {"jobId", "certificateId", "instructionId"},
    "CertificateInstalled": {"jobId", "certificateId", "evidenceType", "evidenceRef"},
    "CertificateActivated": {"certificateId", "activatedAt", "evidenceRef"},
    "CertificateDeactivated": {"certificateId", "deactivatedAt", "reason", "actor"},
    "CertificateRenewalStarted": {"jobId", "certificateId", "replacesCertificateId", "dueReason"},
    "CertificateRevocationRequested": set(),
    "CertificateRevoked": set(),
    "CertificateExpired": set(),
    "CertificateJobFailed": set(),
    "CertificateSuperseded": set(),
    "CertificateRejected": set(),
    "CertificateDeleted": set(),
    "PolicyDecisionRecorded": {"jobId", "rule", "outcome", "policyVersion", "reason"},
    "TrustAnchorBundleConfirmed": set(),
}
LATER = {
    "TrustAnchorReleaseRequested",
    "TrustAnchorReleaseRolledBack",
    "ProvisioningOutcomeRecorded",
}
"""Named in the document; they come with campaigns and provisioning cases."""
EXACT = (
    "CertificateActivated",
    "CertificateDeactivated",
    "PolicyDecisionRecorded",
    "CertificateInstallRequested",
)


def _fields(kind: type) -> set[str]:
    return set(kind.__struct_encode_fields__)  # type: ignore[attr-defined]


def test_events_have_exactly_the_names_of_the_document() -> None:
    present = {kind.__name__ for kind in (*e.ChargerEvent.__args__, *e.FleetEvent.__args__)}
    assert set(FIXED) <= present
    assert not LATER & present, "no longer later: fix their fields above"


def test_events_carry_the_fields_of_the_document_in_camel_case() -> None:
    for kind in e.ChargerEvent.__args__:
        assert FIXED.get(kind.__name__, set()) <= _fields(kind), kind.__name__
    for name in EXACT:
        assert _fields(getattr(e, name)) == FIXED[name], name


def test_every_event_reads_back_from_its_stored_text() -> None:
    for kind in (*e.ChargerEvent.__args__, *e.FleetEvent.__args__):
        assert all(name[0].islower() and "_" not in name for name in _fields(kind))
        msgspec.json.Decoder(kind)
