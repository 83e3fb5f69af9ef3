"""The SECC of a raw charger: a V2G root, a key and a chain of its own, and what its charger says of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from tests.conformance.raw_charger import HASHES, ORGANIZATION, Call, Charger, Payload, Session, certificates

V2G_ROOT, V2G_CHAIN = "V2GRootCertificate", "V2GCertificateChain"
_numbers = itertools.count(1)


@dataclass
class Secc:
    """One SECC, known to the operator under its SECCID."""

    charger: Charger
    secc_id: str
    identity_id: str
    evses: tuple[int, ...] = ()
    certificate_type: str = "V2GCertificate"
    curve: ec.EllipticCurve = field(default_factory=ec.SECP256R1)
    key: ec.EllipticCurvePrivateKey | None = None
    chain_pem: str = ""
    roots: list[x509.Certificate] = field(default_factory=list)
    lists_leaf: bool = True

    @classmethod
    async def registered(cls, charger: Charger, *evses: int) -> Secc:
        secc_id = f"DEDEPSCONTROLLER{next(_numbers):06d}"
        body = {"kind": "evse", "charger_id": charger.charger_id, "external_ids": {"secc_id": secc_id}}
        made = await charger.system.post(
            "/api/v1/identities", body | ({"evses": list(evses)} if evses else {})
        )
        return cls(charger, secc_id, made["identity_id"], evses)

    async def obey(self, session: Session, *, until: str) -> dict[str, Call]:
        """Do as told up to and including the call `until`; the last call of each action."""
        told: dict[str, Call] = {}
        while until not in told:
            call = await session.next_call()
            told[call.action] = call
            await session.answer(call, self.as_told(call))
            if call.action == "TriggerMessage":
                request = self.charger.signing(self.new_csr(), self.certificate_type)
                assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        return told

    def as_told(self, call: Call) -> Payload:
        match call.action:
            case "InstallCertificate":
                assert call.payload["certificateType"] == V2G_ROOT
                self.roots.append(x509.load_pem_x509_certificate(call.payload["certificate"].encode()))
            case "GetInstalledCertificateIds":
                return self.listed(call.payload.get("certificateType", [V2G_ROOT, V2G_CHAIN]))
            case "CertificateSigned":
                assert call.payload["certificateType"] == self.certificate_type
                self.chain_pem = call.payload["certificateChain"]
        return {"status": "Accepted"}

    def listed(self, kinds: list[str]) -> Payload:
        """What it holds of these kinds."""
        entries: list[Payload] = []
        if V2G_ROOT in kinds:
            entries += [
                {"certificateType": V2G_ROOT, "certificateHashData": self.charger.hash_data(root)}
                for root in self.roots
            ]
        if V2G_CHAIN in kinds and self.chain_pem and self.lists_leaf:
            chain = [*certificates(self.chain_pem), self.roots[-1]]
            leaf, *below = [self._hash_data(one, issuer) for one, issuer in itertools.pairwise(chain)]
            listed: Payload = {"certificateType": V2G_CHAIN, "certificateHashData": leaf}
            entries.append(listed | ({"childCertificateHashData": below} if below else {}))
        return (
            {"status": "Accepted", "certificateHashDataChain": entries} if entries else {"status": "NotFound"}
        )

    def _hash_data(self, certificate: x509.Certificate, issuer: x509.Certificate) -> Payload:
        algorithm = HASHES[self.charger.algorithm]
        about = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm).build()
        return {
            "hashAlgorithm": self.charger.algorithm,
            "issuerNameHash": about.issuer_name_hash.hex(),
            "issuerKeyHash": about.issuer_key_hash.hex(),
            "serialNumber": f"{certificate.serial_number:x}",
        }

    def new_csr(self, key: ec.EllipticCurvePrivateKey | None = None) -> str:
        """With a new key, unless one is given, as an SECC names itself."""
        self.key = key or ec.generate_private_key(self.curve)
        name = [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, self.secc_id),
            x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "CPO"),
        ]
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(name))
        return csr.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
