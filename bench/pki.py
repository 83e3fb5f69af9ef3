"""The certificates of a run: one P-256 hierarchy, one server, as many chargers as a benchmark connects.

Every charger has its own leaf, as in life: nothing that is kept by fingerprint may be hit by chance. All leaves are over
one key, which changes nothing for the server and saves making thousands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANIZATION = "BetterFleet"
VALID = timedelta(days=30)


def charger_id(number: int) -> str:
    """The charger that presents leaf `number`; also its serial number and common name."""
    return f"CS-{number:05d}"


@dataclass(frozen=True, slots=True)
class Files:
    """Where everything lies; every process of a run is given the folder only."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def issuing(self) -> Path:
        return self.folder / "issuing.pem"

    @property
    def server(self) -> tuple[Path, Path]:
        return self.folder / "server.pem", self.folder / "server.key"

    def charger(self, number: int) -> tuple[Path, Path]:
        return self.folder / "leaf" / f"{number}.pem", self.folder / "charger.key"

    @property
    def csrs(self) -> Path:
        """CSRs one after another."""
        return self.folder / "csr.pem"


def make(folder: Path, chargers: int, csrs: int = 16) -> Files:
    """Make them all; about 0.4 ms a charger."""
    files = Files(folder)
    (folder / "leaf").mkdir()
    root_key, issuing_key, server_key, charger_key = (
        ec.generate_private_key(ec.SECP256R1()) for _ in range(4)
    )
    root_name, issuing_name = _name("Bench root"), _name("Bench issuing")
    root = _certificate(root_name, root_name, root_key, root_key, is_ca=True)
    issuing = _certificate(issuing_name, root_name, issuing_key, root_key, is_ca=True)
    server = _certificate(_name("localhost"), root_name, server_key, root_key, dns_name="localhost")
    files.root.write_bytes(_pem(root))
    files.issuing.write_bytes(_pem(issuing))
    files.server[0].write_bytes(_pem(server))
    files.server[1].write_bytes(_key_pem(server_key))
    files.charger(0)[1].write_bytes(_key_pem(charger_key))
    below = _pem(issuing)
    for number in range(chargers):
        leaf = _certificate(_name(charger_id(number)), issuing_name, charger_key, issuing_key)
        files.charger(number)[0].write_bytes(_pem(leaf) + below)
    files.csrs.write_bytes(b"".join(_csr(number) for number in range(csrs)))
    return files


def fingerprint(chain_file: Path) -> str:
    """SHA-256 of the first certificate in a file, lower hex."""
    return x509.load_pem_x509_certificate(chain_file.read_bytes()).fingerprint(hashes.SHA256()).hex()


def read_csrs(files: Files) -> list[str]:
    """The CSRs, one PEM text each."""
    end = "-----END CERTIFICATE REQUEST-----\n"
    return [part + end for part in files.csrs.read_text(encoding="ascii").split(end) if part]


def _csr(number: int) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(charger_id(number)))
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool = False,
    dns_name: str | None = None,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if dns_name else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_ca,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_ca,
                crl_sign=is_ca,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if dns_name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
