"""IssueCertificate and GetCertificate: the path from a CSR to a signed certificate, once per token."""

import sqlite3
from dataclasses import dataclass
from hashlib import sha256
from ssl import DER_cert_to_PEM_cert
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from simulator.aws import template as templates
from simulator.aws.authority import Authority
from simulator.aws.config import PeerConfig
from simulator.aws.distinguished_name import to_name
from simulator.aws.extension import resolve
from simulator.aws.issued import IssuedCertificate, new_serial
from simulator.aws.registry import AuthorityRegistry
from simulator.aws.request import GetCertificate, IssueCertificate
from simulator.aws.service_error import ServiceError
from simulator.aws.validity import period


@dataclass(frozen=True)
class Issuing:
    """The issuing half of the service. Signing blocks the loop for 1 ms (P-256) to 2 ms (RSA-2048)."""

    config: PeerConfig
    store: sqlite3.Connection
    registry: AuthorityRegistry

    def issue(self, call: IssueCertificate) -> dict[str, Any]:
        """Sign a certificate, or answer with the one this token already produced within its window.

        Raises: ServiceError as IssueCertificate declares them.
        """
        authority = self.registry.active(call.certificate_authority_arn)
        now = self.config.clock.now()
        digest = parameter_hash(call)
        repeated = self._repeated(call.idempotency_token, digest, now.timestamp())
        if repeated is not None:
            return {"CertificateArn": repeated}
        template = templates.from_arn(call.template_arn)
        record = IssuedCertificate(
            authority_id=authority.id,
            certificate=_sign(authority, template, call, self.config),
            template_arn=template.arn,
            issued_at=now.timestamp(),
            ready_at=now.timestamp() + self.config.ready_delay.total_seconds(),
            token=call.idempotency_token,
            parameter_hash=digest,
        )
        record.insert(self.store)
        return {"CertificateArn": authority.certificate_arn(record.serial)}

    def get(self, call: GetCertificate) -> dict[str, Any]:
        """The certificate and its chain, root last; also for expired and revoked ones.

        Raises: ServiceError RequestInProgressException until the certificate is ready.
        """
        authority = self.registry.named(call.certificate_authority_arn)
        prefix, _, serial = call.certificate_arn.rpartition("/certificate/")
        if prefix != authority.arn:
            raise ServiceError("InvalidArnException", "the certificate ARN is not one of this authority")
        row = self.store.execute(
            "SELECT body, ready_at FROM certificate WHERE authority_id = ? AND serial = ?",
            (authority.id, serial),
        ).fetchone()
        if row is None:
            raise ServiceError("ResourceNotFoundException", "no certificate has this ARN")
        if row["ready_at"] > self.config.clock.timestamp():
            raise ServiceError("RequestInProgressException", "the certificate is still being issued")
        chain = authority.pem + authority.ancestors_pem
        return {"Certificate": DER_cert_to_PEM_cert(row["body"]).strip(), "CertificateChain": chain.strip()}

    def _repeated(self, token: str | None, digest: str, now_s: float) -> str | None:
        """The ARN an earlier call with this token got, whatever its parameters were.

        AWS does not document the case of differing parameters; the peer answers the first ARN, as ACM was
        seen to do, and writes the conflict down so that a test can assert that it never happens.
        """
        if token is None:
            return None
        row = self.store.execute(
            "SELECT authority_id, serial, parameter_hash FROM certificate WHERE token = ? AND issued_at > ?"
            " ORDER BY issued_at LIMIT 1",
            (token, now_s - self.config.idempotency_window.total_seconds()),
        ).fetchone()
        if row is None:
            return None
        arn = self.registry.by_id(row["authority_id"]).certificate_arn(row["serial"])
        if row["parameter_hash"] != digest:
            self.store.execute(
                "INSERT INTO token_conflict VALUES (?,?,?,?,?)",
                (token, arn, row["parameter_hash"], digest, now_s),
            )
        return arn


def parameter_hash(call: IssueCertificate) -> str:
    """SHA-256 over every parameter but the token, in one canonical spelling."""
    parameters = msgspec.structs.replace(call, idempotency_token=None)
    return sha256(msgspec.json.encode(parameters)).hexdigest()


def _sign(
    authority: Authority, template: templates.Template, call: IssueCertificate, config: PeerConfig
) -> x509.Certificate:
    digest = authority.hash_for(call.signing_algorithm)
    depth = authority.path_length
    if template.path_length is not None and depth is not None and template.path_length >= depth:
        raise ServiceError("InvalidArgsException", "the authority's path length does not allow this template")
    csr = _load_csr(call.csr)
    not_before, not_after = period(
        call.validity,
        call.validity_not_before,
        config.clock.now(),
        authority.certificate.not_valid_after_utc,
    )
    api = call.api_passthrough if template.from_api else None
    subject = csr.subject if api is None or api.subject is None else to_name(api.subject)
    public_key = csr.public_key()
    builder = x509.CertificateBuilder(
        issuer_name=authority.certificate.subject,
        subject_name=subject,
        public_key=public_key,
        serial_number=new_serial(),
        not_valid_before=not_before,
        not_valid_after=not_after,
    )
    try:
        extensions = resolve(
            template,
            None if api is None else api.extensions,
            csr,
            subject_is_empty=not subject.rdns,
            issued=authority.stamp(public_key),
        )
        return extensions.apply(builder).sign(authority.key, digest)
    except ValueError as error:
        # Well-formed by the service model, yet not DER: an arc too large, text outside IA5String, ...
        raise ServiceError("InvalidArgsException", f"the certificate cannot be encoded: {error}") from error


def _load_csr(pem: bytes) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(pem)
        is_proven = csr.is_signature_valid
        supported = isinstance(csr.public_key(), ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        tuple(csr.subject)  # parsed on first use; an unreadable name is the CSR's fault as well
    except (ValueError, TypeError, x509.InvalidVersion, InvalidSignature, UnsupportedAlgorithm) as error:
        raise ServiceError("MalformedCSRException", "the CSR cannot be read") from error
    if not is_proven:
        raise ServiceError("MalformedCSRException", "the CSR is not signed by the key it carries")
    if not supported:
        raise ServiceError("MalformedCSRException", "the CSR's key type is not supported")
    return csr
