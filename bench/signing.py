"""A CSR's checks, the record, the order to the CA and the check of what it returns, over the bare cryptography of the same.

Ours: three facts folded by the ledger into rows as they go to the database, each a commit of its own, and the issuance
actor's own check between them; no database, socket or CA is waited for. Bare: `_Charger.bare`, what whoever does the same
must ask cryptography for. Every certificate of a round is another charger's and new to both sides; the CA's own certificate,
which signs them all, is known to both.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec.structs import replace

from actors.issuance.attempt import order_of
from actors.issuance.returned import completed
from bench import pki
from bench.process import ProcessFailed
from bench.round import Result, interleave, ratios
from bfactors import evidence as v
from bfactors import x509 as ours
from bfactors.ca import IssuedChain
from bfactors.charger.decide import decide_command, decide_evidence
from bfactors.charger.draft import Context
from bfactors.charger.outgoing import effects
from bfactors.charger.state import BundleConfirmation, ChargerState
from bfactors.command import RegisterAuthority, RegisterCharger, RequestJob
from bfactors.effect import IssueCertificate
from bfactors.event import Anchor
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import Bundle, FleetFacts, FleetState
from bfactors.ledger_fold import Fold, Loaded
from bfactors.ledger_row import GENESIS, Lease
from deploy.role.runtime import calm_collector
from persistence.commit_rows import rows_of

TARGET = 1.5
_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
_ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/bench"
_PURPOSE = "charging_station"
_URL = "wss://bench/ocpp"
_EACH = 50
"""Certificates in one round."""


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds a certificate."""
    del folder  # nothing is written
    case = Case(5 if quick else _EACH)
    thresholds = gc.get_threshold()
    calm_collector()  # as every process of the product has it
    found = interleave(
        2 if quick else 25,
        {"ours": lambda: case.cpu_s(_Charger.ours), "bare": lambda: case.cpu_s(_Charger.bare)},
        said,
    )
    parts = case.parts()
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    each_round = ratios(found["ours"], found["bare"])
    return [
        Result(
            name="signing",
            ratio=median(each_round),
            target=TARGET,
            ratios=each_round,
            ours=f"{found['ours'].scaled(1e6)} us CPU a certificate",
            peer=f"{found['bare'].scaled(1e6)} us, cryptography alone",
            details={"parts_us": parts},
        )
    ]


class Case:
    """A CA, and chargers that were each asked for a CSR."""

    def __init__(self, count: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._root = pki._certificate(pki._name("Bench root"), pki._name("Bench root"), key, key, is_ca=True)
        facts = _facts(pki._pem(self._root).decode())
        self._chargers = [_Charger(pki.charger_id(number), facts, self._root, key) for number in range(count)]

    def cpu_s(self, work: Callable[[_Charger], object]) -> float:
        """CPU seconds a charger."""
        self._forget()
        began = time.process_time()
        for charger in self._chargers:
            work(charger)
        return (time.process_time() - began) / len(self._chargers)

    def parts(self) -> dict[str, float]:
        """Microseconds of each step, alone."""
        steps: dict[str, Callable[[_Charger], object]] = {
            "csr checked and recorded": _Charger.checked,
            "certificate checked": _Charger.rechecked,
            "reference and certificate recorded": _Charger.recorded,
        }
        return {name: round(self.cpu_s(step) * 1e6, 1) for name, step in steps.items()}

    def _forget(self) -> None:
        """Nothing is known of any charger's certificates, as of one that comes once a year; of its CA's, all is."""
        for kept in (ours.certificate_of, ours.load, ours.csr_of, ours._load_csr, ours._signed_by):
            kept.cache_clear()
        ours.is_root(ours.parse_certificate(pki._pem(self._root).decode()))


class _Charger:
    """One charger that was asked for a CSR, its CSR, and what the CA makes of it."""

    def __init__(
        self, name: str, facts: FleetFacts, root: x509.Certificate, signer: ec.EllipticCurvePrivateKey
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._name, self._facts, self._root = name, facts, root
        self._csr = _csr(name, key)
        self._before = _waiting(name, facts)
        self._ordered, self._effect = self.checked()
        self._leaf = _leaf(name, key, signer, self._effect)
        self._fact = self.rechecked()

    def bare(self) -> None:
        """What the checks and the record ask cryptography for, whoever makes them, and nothing else.

        Of the CSR: read, its key's possession proven, its kind of key, its subject, the extensions it asks for, and the
        digests of it and of its key that the record names. Of the leaf: read, the CA's signature verified, its key the
        CSR's, its subject, its extensions, its end, and its fingerprint.
        """
        csr = x509.load_pem_x509_csr(self._csr.encode())
        key = csr.public_key()
        wrong = not csr.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey)
        wrong = (
            wrong or _common_name(csr.subject) != self._name or any(one.critical for one in csr.extensions)
        )
        asked = _spki(key)
        hashlib.sha256(csr.public_bytes(Encoding.DER)).hexdigest()
        x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()
        leaf = x509.load_pem_x509_certificate(self._leaf.encode())
        leaf.verify_directly_issued_by(self._root)
        wrong = wrong or _spki(leaf.public_key()) != asked or _common_name(leaf.subject) != self._name
        extensions = leaf.extensions
        wrong = wrong or extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        wrong = wrong or not extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if wrong or leaf.not_valid_after_utc != self._effect.not_after:
            raise ProcessFailed("not the CSR's certificate")
        leaf.fingerprint(hashes.SHA256()).hex()

    def ours(self) -> None:
        state, effect = self.checked()
        self._record(state, effect, self._completed(effect))

    def checked(self) -> tuple[ChargerState, IssueCertificate]:
        received = v.CsrReceived(session_id="s", message_id="m", purpose=_PURPOSE, csr=self._csr)
        state, _ = self._fold(self._before, received)
        effect = self._issued_for(state)
        order_of(effect, _AT)
        return state, effect

    def rechecked(self) -> v.IssuanceCompleted:
        return self._completed(self._effect)

    def recorded(self) -> None:
        self._record(self._ordered, self._effect, self._fact)

    def _completed(self, effect: IssueCertificate) -> v.IssuanceCompleted:
        fact = completed(effect, f"{_ARN}/certificate/1", IssuedChain(leaf_pem=self._leaf, issuers_pem=""))
        if isinstance(fact, v.IssuanceRefused) or fact.findings:
            raise ProcessFailed(str(fact))
        return fact

    def _record(self, state: ChargerState, effect: IssueCertificate, fact: v.IssuanceCompleted) -> None:
        asked = v.IssuanceRequested(
            job_id=effect.job_id, attempt=effect.attempt, external_ref=f"{_ARN}/certificate/1"
        )
        state, _ = self._fold(state, asked)
        state, names = self._fold(state, fact)
        if "CertificateIssued" not in names:
            raise ProcessFailed(f"not issued: {names}")

    def _issued_for(self, state: ChargerState) -> IssueCertificate:
        for effect in effects(state, self._facts):
            if isinstance(effect, IssueCertificate):
                return effect
        raise ProcessFailed("the CSR led to no order")

    def _fold(self, state: ChargerState, body: v.EvidenceBody) -> tuple[ChargerState, list[str]]:
        """One fact, as one commit: decided, folded, hashed, and its rows as the database is given them."""
        lease = Lease(
            partition=1,
            owner="bench",
            epoch=1,
            sequence=0,
            head_hash=GENESIS,
            evidence_position=0,
            fleet_position=0,
            outbox_position=0,
        )
        fold = Fold(lease, Loaded(facts=self._facts, states={self._name: state}), _AT, _URL)
        fold.evidence(_fact(self._name, body), 1)
        batch = fold.finish()
        rows_of(batch)
        after = fold.states[self._name]
        if after is None:
            raise ProcessFailed("the charger is gone")
        return after, [row.event for row in batch.events]


def _fact(name: str, body: v.EvidenceBody) -> v.Evidence:
    return v.Evidence(evidence_id="x", charger_id=name, source="bench", observed_at=_AT, body=body)


def _spki(key: CertificatePublicKeyTypes) -> bytes:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _common_name(name: x509.Name) -> str | bytes:
    return name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def _csr(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(pki._name(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _leaf(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    effect: IssueCertificate,
) -> str:
    """What the CA makes of the order."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki._name(name))
        .issuer_name(pki._name("Bench root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(effect.not_before)
        .not_valid_after(effect.not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _facts(root_pem: str) -> FleetFacts:
    registered = RegisterAuthority(
        purpose=_PURPOSE,
        authority_arn=_ARN,
        certificate_pem=root_pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
    )
    decided = fleet.decide_command(FleetState(), registered, "bench", _AT)
    if decided.refusal is not None:
        raise ProcessFailed(decided.refusal.message)
    root = ours.parse_certificates(root_pem)[0]
    node = v.NodeTrustReported(node="n", incarnation="i", fingerprints=(root.fingerprint_sha256,))
    facts = fleet.decide_evidence(decided.state, _fact("", node), _AT).state.facts
    anchor = Anchor(
        fingerprint_sha256=root.fingerprint_sha256,
        subject=root.subject,
        not_after=root.not_after,
        pem=root_pem,
        hash_data=(),
    )
    bundle = Bundle(
        bundle_id="b", purpose="backend_server", version=1, anchors=(anchor,), note="", created_at=_AT
    )
    return replace(facts, bundles={"backend_server": bundle})


def _waiting(name: str, facts: FleetFacts) -> ChargerState:
    """Connected, its anchors confirmed, asked for a CSR."""
    registered = RegisterCharger(
        charger_id=name,
        managed_identity_id=name,
        serial_number=name,
        family="bench",
        site="bench",
        cohort="bench",
        security_profile=2,
        organization=pki.ORGANIZATION,
    )
    context = Context(now=_AT - timedelta(hours=1), cause="bench", actor="bench", facts=facts, ocpp_url=_URL)
    state = decide_command(None, registered, context).state
    session = v.SessionOpened(
        session_id="s",
        node="n",
        incarnation="i",
        ocpp_version="2.0.1",
        security_profile=2,
        remote_address="192.0.2.1",
        opened_at=_AT,
    )
    state = decide_evidence(state, _fact(name, session), context).state
    if state is None:
        raise ProcessFailed("the charger was not registered")
    held = BundleConfirmation(bundle_id="b", rung="listed", confirmed_at=_AT, evidence_ref="bench")
    state = replace(state, bundles={"backend_server": held})
    asked = RequestJob(job_id="j", charger_id=name, purpose=_PURPOSE, action="issue", reason="bench")
    decided = decide_command(state, asked, context)
    if decided.refusal is not None or decided.state is None:
        raise ProcessFailed(str(decided.refusal))
    return decided.state
