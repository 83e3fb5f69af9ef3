"""A small certificate authority for core tests: real keys, made once per process."""

from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)

_USAGES = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


class Ca:
    """A root and an issuing CA under it."""

    def __init__(self, name: str) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = _signed(f"{name} root", self.root_key, None, self.root_key, ca=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _signed(f"{name} issuing", self.key, self.root, self.root_key, ca=True)

    @property
    def root_pem(self) -> str:
        return pem(self.root)

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    def sign(
        self,
        csr_pem: str,
        not_before: datetime,
        not_after: datetime,
        crl_address: str | None = None,
        *,
        usages: tuple[str, ...] = ("client",),
        key_usage: bool = True,
    ) -> str:
        """The chain (leaf, issuing CA) for a CSR."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.certificate.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if crl_address is not None:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_address)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        if usages:
            oids = [_USAGES[usage] for usage in usages]
            builder = builder.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
        if key_usage:
            builder = builder.add_extension(_SIGNS, critical=True)
        leaf = builder.sign(self.key, hashes.SHA256())
        return pem(leaf) + self.pem


@cache
def _ca(name: str) -> Ca:
    return Ca(name)


def ca(name: str = "Fleet") -> Ca:
    """The one of that name; named or not, the same."""
    return _ca(name)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def csr(
    common_name: str,
    organization: str | None = "Depot",
    key: ec.EllipticCurvePrivateKey | None = None,
    uri: str | None = None,
    domain_component: str | None = None,
) -> str:
    """A CSR as a charger makes it; for its SECC with the DC of one."""
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if domain_component is not None:
        parts.append(x509.NameAttribute(NameOID.DOMAIN_COMPONENT, domain_component))
    if organization is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    request = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN - timedelta(days=1))
        .not_valid_after(END)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
