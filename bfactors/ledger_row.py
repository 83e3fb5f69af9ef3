"""The rows a partition's commit writes: events with their hashes, aggregates, projections. Values only.

The hash of an event row covers everything in it and the hash before it: `row_hash`. An outsider can recompute it from an
export (`run.py verify`).
"""

import hashlib
from datetime import UTC, datetime

import msgspec

GENESIS = "0" * 64


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger event as stored. `payload` is the exact JSON text that was hashed; `hash` is 64 lower-hex characters.

    `cause` is the id of the command or evidence that led to it; `actor` who (`operator:<name>`, `charger`, `ca:..`, `clock`).
    """

    partition: int
    sequence: int
    event: str
    schema_version: int
    recorded_at: datetime
    actor: str
    cause: str
    policy_version: int
    fleet_sequence: int
    charger_id: str | None
    managed_identity_id: str | None
    purpose: str | None
    variant: str | None
    job_id: str | None
    certificate_id: str | None
    payload: str
    previous_hash: str
    hash: str


def row_hash(
    *,
    previous_hash: str,
    partition: int,
    sequence: int,
    event: str,
    schema_version: int,
    recorded_at: datetime,
    actor: str,
    cause: str,
    policy_version: int,
    fleet_sequence: int,
    charger_id: str | None,
    managed_identity_id: str | None,
    purpose: str | None,
    variant: str | None,
    job_id: str | None,
    certificate_id: str | None,
    payload: str,
) -> str:
    """SHA-256 (lower hex) over every field, each written as `<length>:<utf-8 bytes>`; an absent field is written as `-`.

    Times are microseconds since 1970 UTC. No field's text can be mistaken for another's.
    """
    micros = int(recorded_at.astimezone(UTC).timestamp() * 1_000_000 + 0.5)
    fields = (
        previous_hash,
        str(partition),
        str(sequence),
        event,
        str(schema_version),
        str(micros),
        actor,
        cause,
        str(policy_version),
        str(fleet_sequence),
        charger_id,
        managed_identity_id,
        purpose,
        variant,
        job_id,
        certificate_id,
        payload,
    )
    text = "".join(["-" if value is None else f"{len(value)}:{value}" for value in fields])
    if not text.isascii():  # then characters are not bytes
        text = "".join(["-" if value is None else f"{len(value.encode())}:{value}" for value in fields])
    return hashlib.sha256(text.encode()).hexdigest()


class AggregateRow(msgspec.Struct, frozen=True):
    """The folded state of one aggregate (`charger:<id>` or `fleet`), as JSON bytes."""

    key: str
    version: int
    state: bytes


class ChargerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A charger as lists and filters need it; `doc` is the API body as JSON bytes."""

    charger_id: str
    managed_identity_id: str
    serial_number: str
    family: str
    site: str
    cohort: str
    connected: bool
    security_profile: int
    decommissioned: bool
    incarnation: str | None = None
    """The connect node's incarnation that holds the live session; finds the sessions of a lost node."""
    doc: bytes


class CertificateRow(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as lists and filters need it; `doc` is the API body (with pem and chain_pem) as JSON bytes."""

    certificate_id: str
    charger_id: str | None
    managed_identity_id: str
    purpose: str
    realm: str
    variant: str
    mode: str
    state: str
    authority: str
    fingerprint_sha256: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    doc: bytes


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate job as lists and filters need it; `doc` is the API body without its timeline."""

    job_id: str
    charger_id: str
    managed_identity_id: str
    purpose: str
    action: str
    state: str
    stage: str
    overdue: bool
    created_at: datetime
    doc: bytes


class InstructionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction that is (or was) outstanding; `doc` holds the whole of it."""

    instruction_id: str
    charger_id: str
    job_id: str | None
    kind: str
    outstanding: bool
    doc: bytes


class EffectRow(msgspec.Struct, frozen=True, kw_only=True):
    """An effect the core still owes: loaded again at take-over; `outstanding` false deletes it."""

    effect_id: str
    purpose: str
    outstanding: bool
    doc: bytes


class TimerRow(msgspec.Struct, frozen=True):
    """The earliest deadline of one aggregate; None when it has none."""

    key: str
    due_at: datetime | None


class KeyOwnerRow(msgspec.Struct, frozen=True):
    """Which managed identity first showed a public key (lower-hex SHA-256 of the SPKI)."""

    spki_sha256: str
    managed_identity_id: str


class SecurityEventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A security event for operators: from a charger or observed at the edge."""

    evidence_id: str
    charger_id: str | None
    kind: str
    observed_at: datetime
    doc: bytes


class IdempotencyRow(msgspec.Struct, frozen=True):
    """What a command was answered, kept 24 h without secrets."""

    key: str
    request_hash: str
    answer: bytes


class QuarantineRow(msgspec.Struct, frozen=True):
    """A piece of evidence that crashed `decide` twice."""

    evidence_id: str
    charger_id: str
    error: str
    body: bytes


class Batch(msgspec.Struct, kw_only=True):
    """Everything one commit writes, in one transaction."""

    evidence_position: int
    fleet_position: int
    events: list[EventRow] = []
    aggregates: list[AggregateRow] = []
    inbox: list[str] = []
    chargers: list[ChargerRow] = []
    certificates: list[CertificateRow] = []
    jobs: list[JobRow] = []
    instructions: list[InstructionRow] = []
    effects: list[EffectRow] = []
    timers: list[TimerRow] = []
    key_owners: list[KeyOwnerRow] = []
    security_events: list[SecurityEventRow] = []
    idempotency: list[IdempotencyRow] = []
    quarantine: list[QuarantineRow] = []


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed partition as it stands: what the next commit builds on."""

    partition: int
    owner: str
    epoch: int
    sequence: int
    head_hash: str
    evidence_position: int
    fleet_position: int
    outbox_position: int
