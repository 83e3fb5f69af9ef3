"""What chargers ask about certificates, as OCPP spells it; valid by its schema when it comes here."""

from typing import Literal

import msgspec

from bfactors.certificate_hash import HashData

Source = Literal["OCSP", "CRL"]


class NamedCertificate(msgspec.Struct, frozen=True, rename="camel"):
    """OCPP's CertificateHashData, verbatim."""

    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str

    @property
    def hash_data(self) -> HashData:
        return HashData(self.hash_algorithm, self.issuer_name_hash, self.issuer_key_hash, self.serial_number)


class OcspRequestData(NamedCertificate, frozen=True, rename="camel"):
    """A certificate and where its issuer's responder is."""

    responder_url: str = msgspec.field(name="responderURL")


class StatusQuestion(msgspec.Struct, frozen=True, rename="camel"):
    """GetCertificateStatus."""

    ocsp_request_data: OcspRequestData


class ChainEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One certificate of a chain and where to ask about it."""

    certificate_hash_data: NamedCertificate
    source: Source
    urls: tuple[str, ...]


class ChainQuestion(msgspec.Struct, frozen=True, rename="camel"):
    """GetCertificateChainStatus, at most 4 entries of 5 addresses each."""

    certificate_status_requests: tuple[ChainEntry, ...]


class StatusAnswer(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """GetCertificateStatus answered: Accepted means that a response was had, whatever it says (M06.FR.02-03)."""

    status: Literal["Accepted", "Failed"]
    ocsp_result: str | None = None


class JudgedEntry(msgspec.Struct, frozen=True, rename="camel"):
    """`next_update` is when the charger should ask again, RFC 3339."""

    certificate_hash_data: NamedCertificate
    source: Source
    status: Literal["Good", "Revoked", "Unknown", "Failed"]
    next_update: str


class ChainAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """Every entry of the question, in its order."""

    certificate_status: tuple[JudgedEntry, ...]


STATUS_QUESTIONS = msgspec.json.Decoder(StatusQuestion)
CHAIN_QUESTIONS = msgspec.json.Decoder(ChainQuestion)
ENCODER = msgspec.json.Encoder()
