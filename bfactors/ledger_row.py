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
    fields = (
        previous_hash,
        str(partition),
        str(sequence),
        event,
        str(schema_version),
        str(_micros(recorded_at)),
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


class CommonHash:
    """`row_hash` for many rows of one commit: what they have in common is written once.

    Gives what `row_hash` gives; that one is what verification goes by.
    """

    __slots__ = ("_fleet", "_head", "_time", "fleet_sequence", "partition", "policy_version", "recorded_at")

    def __init__(
        self, partition: int, recorded_at: datetime, policy_version: int, fleet_sequence: int
    ) -> None:
        self.partition = partition
        self.recorded_at = recorded_at
        self.policy_version = policy_version
        self.fleet_sequence = fleet_sequence
        self._head = _written(str(partition))
        self._time = _written(str(_micros(recorded_at)))
        self._fleet = _written(str(policy_version)) + _written(str(fleet_sequence))

    def of(
        self,
        *,
        previous_hash: str,
        sequence: int,
        event: str,
        schema_version: int,
        actor: str,
        cause: str,
        charger_id: str | None,
        managed_identity_id: str | None,
        purpose: str | None,
        variant: str | None,
        job_id: str | None,
        certificate_id: str | None,
        payload: str,
    ) -> str:
        """The hash of one row."""
        number, version = str(sequence), str(schema_version)
        text = (
            f"{len(previous_hash)}:{previous_hash}{self._head}{len(number)}:{number}{len(event)}:{event}"
            f"{len(version)}:{version}{self._time}{len(actor)}:{actor}{len(cause)}:{cause}{self._fleet}"
            f"{'-' if charger_id is None else f'{len(charger_id)}:{charger_id}'}"
            f"{'-' if managed_identity_id is None else f'{len(managed_identity_id)}:{managed_identity_id}'}"
            f"{'-' if purpose is None else f'{len(purpose)}:{purpose}'}"
            f"{'-' if variant is None else f'{len(variant)}:{variant}'}"
            f"{'-' if job_id is None else f'{len(job_id)}:{job_id}'}"
            f"{'-' if certificate_id is None else f'{len(certificate_id)}:{certificate_id}'}"
            f"{len(payload)}:{payload}"
        )
        if text.isascii():
            return hashlib.sha256(text.encode()).hexdigest()
        return row_hash(  # characters are not bytes
            previous_hash=previous_hash,
            partition=self.partition,
            sequence=sequence,
            event=event,
            schema_version=schema_version,
            recorded_at=self.recorded_at,
            actor=actor,
            cause=cause,
            policy_version=self.policy_version,
            fleet_sequence=self.fleet_sequence,
            charger_id=charger_id,
            managed_identity_id=managed_identity_id,
            purpose=purpose,
            variant=variant,
            job_id=job_id,
            certificate_id=certificate_id,
            payload=payload,
        )


def _written(value: str) -> str:
    return f"{len(value)}:{value}"


def _micros(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1_000_000 + 0.5)


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
    locked_out_at: datetime | None = None
    """From when on none of its credentials lets it in; the other two columns are the cause, and the last certificate."""
    lockout_cause: str | None = None
    lockout_certificate_id: str | None = None
    trust_bundle: str | None = None
    """What it verifies us by; empty: nothing it confirmed; None: it is shown no server certificate."""
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
    due_since: datetime | None = None
    """Since when its renewal is wanted; None: it is not, or it is not in use any more. The next two belong to it."""
    escalated_days: int | None = None
    renew_again_at: datetime | None = None
    issuing_ca_id: str = ""
    spki_sha256: str | None = None
    """Of its public key."""
    issued_at: datetime | None = None
    incident_id: str | None = None
    incident_state: str | None = None
    """How far that incident has come with it."""
    came_later: bool = False
    """It was not part of that incident when that was opened."""
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


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """A log asked for, with the ticket to upload it: what of it is secret is here as a hash only.

    `state`: requested, stored or failed; the ticket is good while it is requested. `doc` is the API body.
    """

    log_id: str
    charger_id: str
    request_id: int
    log: str
    state: str
    secret_id: str
    ticket_hash: str
    credential_hash: str
    max_bytes: int
    requested_at: datetime
    expires_at: datetime
    doc: bytes


class MigrationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A charger's migration case as lists and filters need it; `doc` is the API body."""

    charger_id: str
    family: str
    cohort: str
    state: str
    opened_at: datetime
    doc: bytes


class AuthorizationKeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a charger's AuthorizationKey; without one in use `digests` is empty and the rest None."""

    charger_id: str
    generation: int | None
    origin: str | None
    weakness: str | None
    active_since: datetime | None
    pending_since: datetime | None
    in_doubt: bool
    digests: tuple[str, ...]


class ApprovalRow(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs a second person, as lists and filters need it; `charger_id` None: about the fleet."""

    approval_id: str
    charger_id: str | None
    kind: str
    state: str
    requested_at: datetime
    doc: bytes


class IdentityRow(msgspec.Struct, frozen=True, kw_only=True):
    """A managed identity that is no charger, as lists and filters need it; `doc` is the API body, with pseudonyms only."""

    identity_id: str
    kind: str
    state: str
    family: str
    site: str
    cohort: str
    charger_id: str | None
    doc: bytes


class HolderRow(msgspec.Struct, frozen=True, kw_only=True):
    """That an identity is called something, since when. `held`: still; `kept`: what a pseudonym stands for may stay."""

    external_id: str
    identity_id: str
    held: bool
    kept: bool
    since: datetime


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
    logs: list[LogRow] = []
    migrations: list[MigrationRow] = []
    authorization_keys: list[AuthorizationKeyRow] = []
    approvals: list[ApprovalRow] = []
    identities: list[IdentityRow] = []
    identity_holders: list[HolderRow] = []
    erased_identifiers: list[str] = []
    """Pseudonyms whose values this commit deletes."""
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
