"""A CSR's checks, the record, the order to the CA and the check of what it returns, over the bare cryptography of the same.

Ours: three facts folded by the ledger into rows as they go to the database, and the issuance actor's own check between them;
nothing is kept from the round before, and no database, socket or CA is waited for. Bare: the CSR parsed and its signature
verified, the leaf and its issuer parsed, the leaf's signature verified against the issuer, both keys compared.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
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
from persistence.commit_rows import rows_of

TARGET = 1.5
_AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
_ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/bench"
_PURPOSE = "charging_station"
_URL = "wss://bench/ocpp"
_NAME = pki.charger_id(0)
_EACH = 50
"""Certificates in one round."""


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds a certificate."""
    del folder  # nothing is written
    case = Case()
    count = 5 if quick else _EACH
    found = interleave(
        2 if quick else 15,
        {"ours": lambda: _cpu_s(case.ours, count), "bare": lambda: _cpu_s(case.bare, count)},
        said,
    )
    each_round = ratios(found["ours"], found["bare"])
    return [
        Result(
            name="signing",
            ratio=median(each_round),
            target=TARGET,
            ratios=each_round,
            ours=f"{found['ours'].scaled(1e6)} us CPU a certificate",
            peer=f"{found['bare'].scaled(1e6)} us, cryptography alone",
            details={"parts_us": case.parts(count)},
        )
    ]


def _cpu_s(work: Callable[[], object], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        work()
    return (time.process_time() - began) / count


class Case:
    """One charger that was asked for a CSR, its CSR, and what the CA makes of it."""

    def __init__(self) -> None:
        key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self._root = pki._certificate(pki._name("Bench root"), pki._name("Bench root"), key, key, is_ca=True)
        self._csr = _csr(leaf_key)
        self._facts = _facts(pki._pem(self._root).decode())
        self._state = _waiting(self._facts)
        effect = self._issued_for(self._fold(self._state, self._csr_received())[0])
        self._leaf = _leaf(leaf_key, key, effect)

    def bare(self) -> None:
        csr = x509.load_pem_x509_csr(self._csr.encode())
        leaf = x509.load_pem_x509_certificate(self._leaf.encode())
        issuer = x509.load_pem_x509_certificate(pki._pem(self._root))
        if not csr.is_signature_valid or _spki(csr) != _spki(leaf):
            raise ProcessFailed("not the CSR's certificate")
        leaf.verify_directly_issued_by(issuer)

    def ours(self) -> None:
        state, effect = self._checked()
        fact = self._rechecked(effect)
        self._recorded(state, effect, fact)

    def parts(self, count: int) -> dict[str, float]:
        """Microseconds of each step, alone."""
        state, effect = self._checked()
        fact = self._rechecked(effect)
        steps: dict[str, Callable[[], object]] = {
            "csr checked and recorded": self._checked,
            "certificate checked": lambda: self._rechecked(effect),
            "reference and certificate recorded": lambda: self._recorded(state, effect, fact),
        }
        return {name: round(_cpu_s(step, count) * 1e6, 1) for name, step in steps.items()}

    def _checked(self) -> tuple[ChargerState, IssueCertificate]:
        _forget()
        state, _ = self._fold(self._state, self._csr_received())
        effect = self._issued_for(state)
        order_of(effect, _AT)
        return state, effect

    def _rechecked(self, effect: IssueCertificate) -> v.IssuanceCompleted:
        _forget()
        fact = completed(effect, f"{_ARN}/certificate/1", IssuedChain(leaf_pem=self._leaf, issuers_pem=""))
        if isinstance(fact, v.IssuanceRefused) or fact.findings:
            raise ProcessFailed(str(fact))
        return fact

    def _recorded(self, state: ChargerState, effect: IssueCertificate, fact: v.IssuanceCompleted) -> None:
        _forget()
        asked = v.IssuanceRequested(
            job_id=effect.job_id, attempt=effect.attempt, external_ref=f"{_ARN}/certificate/1"
        )
        state, _ = self._fold(state, asked)
        state, names = self._fold(state, fact)
        if "CertificateIssued" not in names:
            raise ProcessFailed(f"not issued: {names}")

    def _csr_received(self) -> v.CsrReceived:
        return v.CsrReceived(session_id="s", message_id="m", purpose=_PURPOSE, csr=self._csr)

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
        fold = Fold(lease, Loaded(facts=self._facts, states={_NAME: state}), _AT, _URL)
        fold.evidence(_fact(body), 1)
        batch = fold.finish()
        rows_of(batch)
        after = fold.states[_NAME]
        if after is None:
            raise ProcessFailed("the charger is gone")
        return after, [row.event for row in batch.events]


def _forget() -> None:
    """Nothing is known from before, as for a charger that comes once a year."""
    ours.certificate_of.cache_clear()
    ours.load.cache_clear()


def _fact(body: v.EvidenceBody) -> v.Evidence:
    return v.Evidence(evidence_id="x", charger_id=_NAME, source="bench", observed_at=_AT, body=body)


def _spki(of: x509.CertificateSigningRequest | x509.Certificate) -> bytes:
    return hashlib.sha256(
        of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).digest()


def _csr(key: ec.EllipticCurvePrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(pki._name(_NAME))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def _leaf(
    key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, effect: IssueCertificate
) -> str:
    """What the CA makes of the order."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(pki._name(_NAME))
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
    facts = fleet.decide_evidence(decided.state, _fact(node), _AT).state.facts
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


def _waiting(facts: FleetFacts) -> ChargerState:
    """Connected, its anchors confirmed, asked for a CSR."""
    registered = RegisterCharger(
        charger_id=_NAME,
        managed_identity_id="bench",
        serial_number=_NAME,
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
    state = decide_evidence(state, _fact(session), context).state
    if state is None:
        raise ProcessFailed("the charger was not registered")
    held = BundleConfirmation(bundle_id="b", rung="listed", confirmed_at=_AT, evidence_ref="bench")
    state = replace(state, bundles={"backend_server": held})
    asked = RequestJob(job_id="j", charger_id=_NAME, purpose=_PURPOSE, action="issue", reason="bench")
    decided = decide_command(state, asked, context)
    if decided.refusal is not None or decided.state is None:
        raise ProcessFailed(str(decided.refusal))
    return decided.state
