"""The central system's own server certificates where none are given: keys made here, signed by the back-end server CA.

One RSA and one ECDSA leaf under one root (A00.FR.421), kept under the data directory and made anew before they end. The
CA's key is never here; the two server keys are files with mode 0600.
"""

import asyncio
import hashlib
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bfactors.ca import AuthorityDescription, NotReady, SigningOrder, Transient
from bfactors.ports import CertificateAuthority, Clock
from bfactors.purpose import purpose
from bfactors.x509 import join_chain, parse_certificate, parse_certificates
from deploy.role.custody import write_private
from gateways.ocpp.tls import ServerIdentity

_LOG = logging.getLogger(__name__)
KINDS = ("ecdsa", "rsa")
VALIDITY = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
RSA_BITS = 2048
RETRY_S = 0.3
T = TypeVar("T")
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNames:
    """What the certificate says it is: CN and DNS name, and addresses for chargers told to connect to one."""

    fqdn: str
    addresses: tuple[str, ...]
    organization: str = "BetterFleet"


async def obtain(
    folder: Path,
    authority: CertificateAuthority,
    described: AuthorityDescription,
    names: ServerNames,
    clock: Clock,
) -> list[ServerIdentity]:
    """The two identities, from the folder while they are good for a month more, else from the CA. Raises CaError."""
    return [await _one(folder, kind, authority, described, names, clock) for kind in KINDS]


async def _one(
    folder: Path,
    kind: str,
    authority: CertificateAuthority,
    described: AuthorityDescription,
    names: ServerNames,
    clock: Clock,
) -> ServerIdentity:
    identity = ServerIdentity(folder / f"{kind}.chain.pem", folder / f"{kind}.key.pem")
    if is_good(identity, names, described, clock.now()):
        return identity
    key: Key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else await asyncio.to_thread(rsa.generate_private_key, 65537, RSA_BITS)
    )
    csr = _csr(key, names)
    chain = await _signed(authority, described, csr, clock)
    write_private(
        identity.key_path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_private(identity.chain_path, chain.encode())
    _LOG.info("a new %s server certificate for %s is in place", kind, names.fqdn)
    return identity


def usable(folder: Path, names: ServerNames, now: datetime) -> list[ServerIdentity] | None:
    """The two identities of an earlier start, if chargers can still be shown them; None if not.

    What is good enough while the CA is away: it may be due for renewal, but says who we are and has not ended.
    """
    kept = [ServerIdentity(folder / f"{kind}.chain.pem", folder / f"{kind}.key.pem") for kind in KINDS]
    for identity in kept:
        if not _is_whole(identity):
            return None
        leaf = parse_certificates(identity.chain_path.read_text(encoding="ascii"))[0]
        if leaf.common_name != names.fqdn or leaf.not_after <= now:
            return None
    return kept


def _is_whole(identity: ServerIdentity) -> bool:
    """Whether both files are there and belong together: a start may have ended between writing the two."""
    if not identity.chain_path.exists() or not identity.key_path.exists():
        return False
    key = serialization.load_pem_private_key(identity.key_path.read_bytes(), None)
    leaf = x509.load_pem_x509_certificate(identity.chain_path.read_bytes())
    return key.public_key() == leaf.public_key()


def is_good(
    identity: ServerIdentity, names: ServerNames, described: AuthorityDescription, now: datetime
) -> bool:
    """Whether it names us, comes from this CA and is good for a month more."""
    if not _is_whole(identity):
        return False
    chain = parse_certificates(identity.chain_path.read_text(encoding="ascii"))
    issuer = parse_certificate(described.certificate_pem)
    return (
        chain[0].common_name == names.fqdn
        and chain[0].not_after - now > RENEW_BEFORE
        and len(chain) > 1
        and chain[1].fingerprint_sha256 == issuer.fingerprint_sha256
    )


def _csr(key: Key, names: ServerNames) -> str:
    alternatives: list[x509.GeneralName] = [x509.DNSName(names.fqdn)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses]
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, names.fqdn),
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, names.organization),
                ]
            )
        )
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


async def _signed(
    authority: CertificateAuthority, described: AuthorityDescription, csr: str, clock: Clock
) -> str:
    now = clock.now().replace(microsecond=0)
    order = SigningOrder(
        authority_arn=described.arn,
        token=hashlib.sha256(csr.encode()).hexdigest()[:32],
        csr_pem=csr,
        template=purpose("backend_server").template,
        signing_algorithm=described.signing_algorithm,
        not_before=now - timedelta(hours=1),
        not_after=now + VALIDITY,
        call_before=now + timedelta(minutes=4),
    )
    reference = await _until_answered(lambda: authority.issue(order))
    issued = await _until_answered(lambda: authority.fetch(described.arn, reference))
    certificates = [c for c in parse_certificates(issued.pem) if not c.self_issued]
    return join_chain(c.der for c in certificates)


async def _until_answered(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except (NotReady, Transient) as wait:
            _LOG.debug("the server certificate is not there yet: %s", wait.code)
            await asyncio.sleep(RETRY_S)


def given(chain_files: Sequence[Path], key_files: Sequence[Path]) -> list[ServerIdentity]:
    """The identities settings name."""
    return [ServerIdentity(chain, key) for chain, key in zip(chain_files, key_files, strict=True)]
