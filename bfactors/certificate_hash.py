"""A certificate as OCPP names it: the hash data of GetInstalledCertificateIds and DeleteCertificate.

Source: OCPP 2.0.1 part 2 section 2.6, RFC 6960 CertID.
"""

import msgspec


class HashData(msgspec.Struct, frozen=True):
    """One certificate's OCPP hash data, verbatim as the charger or we computed it.

    `algorithm` is SHA256, SHA384 or SHA512; the three others are hexadecimal text of any case.
    """

    algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str

    def folded(self) -> tuple[str, str, str, str]:
        """The form two hash data are compared in: case folded, serial without leading zeros."""
        return (
            self.algorithm.upper(),
            self.issuer_name_hash.lower(),
            self.issuer_key_hash.lower(),
            self.serial_number.lower().lstrip("0"),
        )


class ReportedCertificate(msgspec.Struct, frozen=True):
    """One entry of a charger's own list: `use` is OCPP's GetCertificateIdUse as the dialect names it."""

    use: str
    hash_data: HashData
    child_hash_data: tuple[HashData, ...] = ()
