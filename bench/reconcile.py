"""A charger's list of 2,000 certificates, from the frame to the inventory with its differences, over 50 ms.

Schema validation, dialect and reconciliation, alone and inside the ledger's decision, with nothing kept from the round
before. The list names every anchor of ours, in all the notations chargers use, leaves with their issuers, and strangers;
the rest of a round goes into the strangers.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.process import ProcessFailed
from bench.round import Result, Spread, interleave
from bfactors import evidence as v
from bfactors.certificate_hash import HashData
from bfactors.charger.decide import decide_command, decide_evidence
from bfactors.charger.draft import Context
from bfactors.charger.outgoing import orders
from bfactors.charger.state import ChargerState
from bfactors.command import RegisterCharger
from bfactors.event import Anchor
from bfactors.fleet.state import Bundle, FleetFacts
from bfactors.instruction import InstructionOrder, ListCertificates
from bfactors.inventory.held import Held
from bfactors.inventory.reconciliation import reconcile
from bfactors.inventory.store import anchor_stores
from bfactors.x509 import certificate_of, hash_data, hash_data_over_spki, load
from gateways.ocpp import frame
from gateways.ocpp.frame import Payload
from gateways.ocpp.v201 import Ocpp201

LIMIT_S = 0.050
ENTRIES = 2000
_ANCHORS = 40
_NOTATIONS = 4
_PURPOSE = "backend_server"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """CPU seconds a list; and what an entry costs in a long list over what it costs in a short one."""
    del folder  # nothing is written
    held = [_anchor(number) for number in range(_ANCHORS)]
    dialect = Ocpp201()
    sides = {
        name: partial(_cpu_s, dialect, held, _frame(held, entries))
        for name, entries in (("2000 entries", ENTRIES), ("200 entries", ENTRIES // 10))
    }
    facts = FleetFacts(bundles={_PURPOSE: _bundle(held)})
    sides["2000 entries, decided"] = partial(_decision_cpu_s, dialect, facts, _frame(held, ENTRIES))
    found = interleave(2 if quick else 15, sides, said)
    long, short = found["2000 entries"], found["200 entries"]
    decided = found["2000 entries, decided"]
    return [
        _result("reconcile, decided", tuple(value / LIMIT_S for value in decided.values), 1.0, decided),
        _result("reconcile", tuple(value / LIMIT_S for value in long.values), 1.0, long),
        _result(
            "reconcile, an entry of 2000 over one of 200",
            tuple(a / 10 / b for a, b in zip(long.values, short.values, strict=True)),
            None,
            long,
        ),
    ]


def _result(name: str, ratios: tuple[float, ...], target: float | None, found: Spread) -> Result:
    return Result(
        name=name,
        ratio=median(ratios),
        target=target,
        ratios=ratios,
        ours=f"{found.scaled(1e3)} ms CPU for {ENTRIES} entries",
        peer=f"the limit, {LIMIT_S * 1e3:.0f} ms",
    )


def _cpu_s(dialect: Ocpp201, held: list[Held], data: bytes) -> float:
    """One list. Raises ProcessFailed if it was not recognised."""
    certificate_of.cache_clear()
    load.cache_clear()
    began = time.process_time()
    read = frame.parse(data)
    if not isinstance(read, frame.Result):
        raise ProcessFailed(str(read))
    violation = dialect.schemas.response_violation("GetInstalledCertificateIds", read.payload)
    listed = dialect.answer_of(ListCertificates(), read.payload).listed
    inventory = reconcile(held, listed)
    spent = time.process_time() - began
    recognised = sum(1 for row in inventory.rows if row.match is not None)
    if violation is not None or recognised != len(held) or len(inventory.rows) != len(listed):
        raise ProcessFailed(f"{recognised} of {len(held)} anchors recognised, {violation}")
    return spent


def _decision_cpu_s(dialect: Ocpp201, facts: FleetFacts, data: bytes) -> float:
    """One list, from the frame to the ledger's events. Raises ProcessFailed if the bundle was not confirmed by it."""
    state, order = _waiting(facts)
    certificate_of.cache_clear()
    load.cache_clear()
    began = time.process_time()
    read = frame.parse(data)
    if not isinstance(read, frame.Result):
        raise ProcessFailed(str(read))
    dialect.schemas.response_violation("GetInstalledCertificateIds", read.payload)
    outcome = dialect.answer_of(ListCertificates(), read.payload)
    body = v.InstructionAnswered(
        instruction_id=order.instruction_id,
        decision=order.decision,
        session_id=order.session_id,
        outcome=outcome,
    )
    decision = decide_evidence(state, _fact(body), _context(facts))
    spent = time.process_time() - began
    if _PURPOSE not in (decision.state or state).bundles:
        raise ProcessFailed("the list did not confirm the bundle")
    return spent


def _waiting(facts: FleetFacts) -> tuple[ChargerState, InstructionOrder]:
    """A charger that is connected and was asked for its list."""
    registered = RegisterCharger(
        charger_id="bench",
        managed_identity_id="bench",
        serial_number="bench",
        family="bench",
        site="bench",
        cohort="bench",
        security_profile=2,
    )
    state = decide_command(None, registered, _context(FleetFacts(), _NOW - timedelta(days=60))).state
    session = v.SessionOpened(
        session_id="s",
        node="n",
        incarnation="i",
        ocpp_version="2.0.1",
        security_profile=2,
        remote_address="192.0.2.1",
        opened_at=_NOW,
    )
    after = decide_evidence(state, _fact(session), _context(facts)).state
    if after is None:
        raise ProcessFailed("the charger was not registered")
    return after, orders(after, facts, _NOW)[0]


def _fact(body: v.EvidenceBody) -> v.Evidence:
    return v.Evidence(evidence_id="x", charger_id="bench", source="bench", observed_at=_NOW, body=body)


def _context(facts: FleetFacts, now: datetime | None = None) -> Context:
    return Context(now=now or _NOW, cause="bench", actor="bench", facts=facts, ocpp_url="wss://bench/ocpp")


def _bundle(held: list[Held]) -> Bundle:
    anchors = tuple(
        Anchor(
            fingerprint_sha256=one.fingerprint_sha256,
            subject=one.subject,
            not_after=one.not_after,
            pem=one.pem,
            hash_data=one.hash_data,
        )
        for one in held
    )
    return Bundle(bundle_id="b", purpose=_PURPOSE, version=1, anchors=anchors, note="", created_at=_NOW)


# ---------------------------------------------------------------- what is listed


def _anchor(number: int) -> Held:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Bench root {number}")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    certificate = certificate_of(made.public_bytes(Encoding.DER))
    return Held(
        kind="anchor",
        fingerprint_sha256=certificate.fingerprint_sha256,
        subject=certificate.subject,
        purpose="",
        state="current",
        stores=anchor_stores("backend-server"),
        pem=made.public_bytes(Encoding.PEM).decode(),
        not_after=certificate.not_after,
        is_installed=True,
        hash_data=tuple(hash_data(certificate, certificate, name) for name in ("SHA256", "SHA384", "SHA512")),
    )


def _frame(held: list[Held], entries: int) -> bytes:
    ours = [_entry(_in_notation(one, number % _NOTATIONS)) for number, one in enumerate(held)]
    strangers = [_stranger(number) for number in range(entries - len(ours))]
    return frame.result("1", {"status": "Accepted", "certificateHashDataChain": [*strangers, *ours]})


def _in_notation(one: Held, notation: int) -> HashData:
    data = one.hash_data[notation % 3]
    if notation == 1:
        return HashData(
            data.algorithm, data.issuer_name_hash.upper(), data.issuer_key_hash.upper(), data.serial_number
        )
    if notation == 2:
        return HashData(
            data.algorithm, _base64(data.issuer_name_hash), _base64(data.issuer_key_hash), data.serial_number
        )
    if notation == 3:
        certificate = certificate_of(
            x509.load_pem_x509_certificate(one.pem.encode()).public_bytes(Encoding.DER)
        )
        return hash_data_over_spki(certificate, certificate)
    return data


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(bytes.fromhex(text)).decode()


def _stranger(number: int) -> Payload:
    def made(part: str) -> HashData:
        name, key, serial = (hashlib.sha256(f"{part}{number}{what}".encode()).hexdigest() for what in "nks")
        return HashData("SHA256", name, key, serial[:40])

    if number % 4:
        return _entry(made("root"), "CSMSRootCertificate" if number % 4 == 1 else "V2GRootCertificate")
    children = [_named(made("lower")), _named(made("upper"))]
    return {**_entry(made("leaf"), "V2GCertificateChain"), "childCertificateHashData": children}


def _entry(data: HashData, use: str = "CSMSRootCertificate") -> Payload:
    return {"certificateType": use, "certificateHashData": _named(data)}


def _named(data: HashData) -> Payload:
    return {
        "hashAlgorithm": data.algorithm,
        "issuerNameHash": data.issuer_name_hash,
        "issuerKeyHash": data.issuer_key_hash,
        "serialNumber": data.serial_number,
    }
