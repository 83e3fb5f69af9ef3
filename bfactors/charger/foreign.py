"""Leaves that somebody else issued and that open sessions here: what their issuer says of them, and what follows.

Core looks, ahead of time and again before what it knows is out of date; the admission record says what it found, so no
handshake waits for the network and a gateway needs no way out.
"""

from bfactors import event as e
from bfactors import evidence as v
from bfactors.admission import Unproven
from bfactors.charger.draft import Draft
from bfactors.charger.state import CertificateRecord, ChargerState
from bfactors.effect import CheckForeign
from bfactors.purpose import purpose
from bfactors.revocation_source import sources_in

MANAGED = "managed"


def is_foreign(certificate: CertificateRecord) -> bool:
    """Whether its revocation is somebody else's to tell, and matters at the gateways."""
    return certificate.mode != MANAGED and purpose(certificate.purpose).is_session_credential


def check_of(state: ChargerState, certificate: CertificateRecord) -> CheckForeign | None:
    """What is owed for it: to be looked up for as long as it may open sessions."""
    sources = sources_in(certificate.chain_pem)
    if state.foreign_revocation == "off" or not is_foreign(certificate) or not certificate.is_usable:
        return None
    if sources.is_none:
        return None
    return CheckForeign(
        effect_id=f"{certificate.certificate_id}:foreign",
        charger_id=state.charger_id,
        purpose=certificate.purpose,
        certificate_id=certificate.certificate_id,
        authority_arn=certificate.issuer,
        chain_pem=certificate.chain_pem,
        serial_number=certificate.serial_number,
        crl_addresses=sources.crl,
        ocsp_addresses=sources.ocsp,
        known_status=certificate.foreign_status,
        good_until=certificate.foreign_good_until,
    )


def seen(draft: Draft, body: v.ForeignRevocationSeen) -> None:
    """Its issuer said something else than before, or nobody can say any more."""
    certificate = draft.state.certificates.get(body.certificate_id)
    if certificate is None or not is_foreign(certificate) or certificate.state == "revoked":
        return
    if certificate.foreign_status == body.status:
        return
    draft.record(
        e.ForeignRevocationChecked(
            certificate_id=body.certificate_id,
            status=body.status,
            source=body.source,
            address=body.address,
            this_update=body.this_update,
            good_until=body.good_until,
            reason_code=body.code,
            reason_message=body.message,
        )
    )
    if body.status == "revoked":
        revoked_at = body.revoked_at or draft.now
        draft.record(e.CertificateRevoked(certificate_id=body.certificate_id, revoked_at=revoked_at))


def unproven(state: ChargerState, certificate: CertificateRecord) -> Unproven:
    """What a gateway does with a leaf of which nobody knows that it is not revoked."""
    if (
        state.foreign_revocation == "off"
        or not is_foreign(certificate)
        or certificate.foreign_status == "good"
    ):
        return "no"
    return "refused" if state.foreign_revocation == "hard" else "admitted"
