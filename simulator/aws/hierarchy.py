"""The authorities of every realm: made on the first start, found again on every later one."""

import os
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from simulator.aws.authority import Authority, AuthorityKey, new_key
from simulator.aws.config import KeyAlgorithm, PeerConfig
from simulator.aws.extension import ExtensionSet
from simulator.aws.issued import IssuedCertificate, new_serial
from simulator.aws.template import AUTHORITY_KEY_USAGE, TEMPLATES
from simulator.aws.validity import BACKDATED, months_later

SUBORDINATE = TEMPLATES["SubordinateCACertificate_PathLen0"]
ROOT_TEMPLATE_ARN = "arn:aws:acm-pca:::template/RootCACertificate/V1"


@dataclass(frozen=True)
class RealmArns:
    """The two authorities of one realm."""

    root_arn: str
    issuing_arn: str


@dataclass(frozen=True)
class Hierarchy:
    """Every authority of the peer, by id; ids are the last part of the ARN."""

    by_id: dict[str, Authority]

    def __iter__(self) -> Iterator[Authority]:
        return iter(self.by_id.values())

    @property
    def arns(self) -> dict[str, RealmArns]:
        """Per realm, the root's and the issuing authority's ARN; of several, the first's."""
        issuing = [authority for authority in self if authority.parent is not None]
        return {item.realm: RealmArns(item.parent.arn, item.arn) for item in reversed(issuing) if item.parent}


def open_hierarchy(config: PeerConfig, store: sqlite3.Connection, crl_base_url: str) -> Hierarchy:
    """Load the authorities; create those of realms that have none yet.

    Key files are written before the rows that name them, and a key file without a row is removed, so a
    start that was killed half-way leaves nothing behind. Blocks for the making of keys on a first start.
    """
    keys = config.state_dir / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    known = {row["realm"] for row in store.execute("SELECT realm FROM authority")}
    for realm in config.realms:
        if realm not in known:
            _create_realm(config, store, keys, realm, crl_base_url)
    by_id = _load(config, store, keys, crl_base_url)
    for stray in keys.glob("*.pem"):
        if stray.stem not in by_id:
            stray.unlink()
    return Hierarchy(by_id)


def add_issuing(
    config: PeerConfig, store: sqlite3.Connection, hierarchy: Hierarchy, first: Authority
) -> Authority:
    """A further issuing authority in the realm of `first`, under a root of its own: what a rollover goes to."""
    keys = config.state_dir / "keys"
    base_url = (first.crl_url or "").rpartition("/crl/")[0]
    root = _create_authority(config, keys, first.realm, first.key_algorithm, None, base_url)
    issuing = _create_authority(config, keys, first.realm, first.key_algorithm, root, base_url)
    store.execute("BEGIN IMMEDIATE")
    _record(store, root)
    _record(store, issuing)
    store.execute("COMMIT")
    hierarchy.by_id.update({root.id: root, issuing.id: issuing})
    return issuing


def _load(
    config: PeerConfig, store: sqlite3.Connection, keys: Path, crl_base_url: str
) -> dict[str, Authority]:
    by_id: dict[str, Authority] = {}
    for row in store.execute("SELECT * FROM authority ORDER BY created_at, parent_id IS NOT NULL, realm"):
        key = load_pem_private_key((keys / f"{row['id']}.pem").read_bytes(), password=None)
        assert isinstance(key, AuthorityKey)
        by_id[row["id"]] = Authority(
            id=row["id"],
            arn=row["arn"],
            realm=row["realm"],
            key_algorithm=row["key_algorithm"],
            key=key,
            certificate=x509.load_der_x509_certificate(row["certificate"]),
            parent=by_id.get(row["parent_id"]),
            created_at=datetime.fromtimestamp(row["created_at"], UTC),
            crl_url=crl_url(config, row["id"], crl_base_url),
            crl_partitions=config.crl_partitions,
            ocsp_url=ocsp_url(config, row["id"], crl_base_url),
        )
    return by_id


def crl_url(config: PeerConfig, authority_id: str, base_url: str) -> str | None:
    """Where the CRL of an authority is published, or None when certificates do not say."""
    return f"{base_url}/crl/{authority_id}.crl" if config.crl_distribution_points else None


def ocsp_url(config: PeerConfig, authority_id: str, base_url: str) -> str | None:
    """Where the responder of an authority is asked, or None without one."""
    return f"{base_url}/ocsp/{authority_id}" if config.ocsp_responder else None


def _create_realm(
    config: PeerConfig, store: sqlite3.Connection, keys: Path, realm: str, crl_base_url: str
) -> None:
    algorithm = config.key_algorithms.get(realm, config.key_algorithm)
    root = _create_authority(config, keys, realm, algorithm, None, crl_base_url)
    issuing = _create_authority(config, keys, realm, algorithm, root, crl_base_url)
    store.execute("BEGIN IMMEDIATE")
    _record(store, root)
    _record(store, issuing)
    store.execute("COMMIT")


def _create_authority(
    config: PeerConfig,
    keys: Path,
    realm: str,
    algorithm: KeyAlgorithm,
    parent: Authority | None,
    crl_base_url: str,
) -> Authority:
    authority_id = str(uuid.uuid4())
    key = new_key(algorithm)
    _write_key(keys / f"{authority_id}.pem", key)
    now = config.clock.now()
    return Authority(
        id=authority_id,
        arn=f"arn:aws:acm-pca:{config.region}:{config.account_id}:certificate-authority/{authority_id}",
        realm=realm,
        key_algorithm=algorithm,
        key=key,
        certificate=_authority_certificate(config, realm, key, parent, now),
        parent=parent,
        created_at=now,
        crl_url=crl_url(config, authority_id, crl_base_url),
        crl_partitions=config.crl_partitions,
        ocsp_url=ocsp_url(config, authority_id, crl_base_url),
    )


def _authority_certificate(
    config: PeerConfig, realm: str, key: AuthorityKey, parent: Authority | None, now: datetime
) -> x509.Certificate:
    tier, years = (
        ("Root", config.root_validity_years) if parent is None else ("Issuing", config.issuing_validity_years)
    )
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, config.organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{realm} {tier} CA"),
        ]
    )
    public_key = key.public_key()
    issued_at = now.replace(microsecond=0)
    if parent is None:
        extensions = ExtensionSet()
        extensions.offer(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), False)
        extensions.offer(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        extensions.offer(x509.BasicConstraints(ca=True, path_length=None), True)
        extensions.offer(AUTHORITY_KEY_USAGE, True)
    else:
        extensions = parent.stamp(public_key)
        for value, critical in SUBORDINATE.fixed:
            extensions.offer(value, critical)
    builder = x509.CertificateBuilder(
        issuer_name=subject if parent is None else parent.certificate.subject,
        subject_name=subject,
        public_key=public_key,
        serial_number=new_serial(),
        not_valid_before=issued_at - BACKDATED,
        not_valid_after=months_later(issued_at, 12 * years),
    )
    return extensions.apply(builder).sign(key if parent is None else parent.key, hashes.SHA256())


def _write_key(path: Path, key: AuthorityKey) -> None:
    body = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _record(store: sqlite3.Connection, authority: Authority) -> None:
    """Insert an authority together with its own certificate, which its issuer (a root: itself) issued."""
    created_at = authority.created_at.timestamp()
    store.execute(
        "INSERT INTO authority (id, arn, realm, kind, parent_id, key_algorithm, certificate, status, created_at,"
        " changed_at) VALUES (?,?,?,?,?,?,?,'ACTIVE',?,?)",
        (
            authority.id,
            authority.arn,
            authority.realm,
            "ROOT" if authority.parent is None else "SUBORDINATE",
            None if authority.parent is None else authority.parent.id,
            authority.key_algorithm,
            authority.certificate.public_bytes(Encoding.DER),
            created_at,
            created_at,
        ),
    )
    IssuedCertificate(
        authority_id=authority.id if authority.parent is None else authority.parent.id,
        certificate=authority.certificate,
        template_arn=ROOT_TEMPLATE_ARN if authority.parent is None else SUBORDINATE.arn,
        issued_at=created_at,
        ready_at=created_at,
        self_signed=authority.parent is None,
    ).insert(store)
