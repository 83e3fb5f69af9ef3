"""A LedgerStore in memory that passes the same contract suite as the real one, for tests of whoever decides."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from bfactors.charger.former import ENDED, Former, spki_of
from bfactors.disclosed import Disclosed
from bfactors.errors import EvidenceKnown, Fenced, LedgerCorrupt, Overtaken, Unavailable
from bfactors.identity import PARTITIONS
from bfactors.ledger_row import (
    GENESIS,
    AggregateRow,
    ApprovalRow,
    AuthorizationKeyRow,
    Batch,
    CertificateRow,
    ChargerRow,
    EffectRow,
    EventRow,
    HolderRow,
    IdempotencyRow,
    IdentityRow,
    InstructionRow,
    JobRow,
    Lease,
    LogRow,
    MigrationRow,
    QuarantineRow,
    SecurityEventRow,
)

LAPSED = datetime.min.replace(tzinfo=UTC)


class _Partition(msgspec.Struct):
    owner: str = ""
    epoch: int = 0
    lease_until: datetime = LAPSED
    sequence: int = 0
    head_hash: str = GENESIS
    evidence_position: int = 0
    fleet_position: int = 0
    outbox_position: int = 0


class FakeLedgerStore:
    """Everything in public dictionaries, so that a test can look. `now` stands for the database's clock.

    `fail_next_commit` makes the next commit raise Unavailable `before` or `after` it wrote: the two ends of a commit in
    doubt. `unavailable` makes every call raise it.
    """

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._partitions = [_Partition() for _ in range(PARTITIONS)]
        self.fail_next_commit: Literal["before", "after"] | None = None
        self.unavailable = False
        self.commits: list[Batch] = []
        self.events: dict[int, list[EventRow]] = {number: [] for number in range(PARTITIONS)}
        self.aggregates: dict[tuple[int, str], AggregateRow] = {}
        self.inbox: set[tuple[int, str]] = set()
        self.chargers: dict[str, ChargerRow] = {}
        self._charger_partition: dict[str, int] = {}
        self._certificate_partition: dict[str, int] = {}
        self.certificates: dict[str, CertificateRow] = {}
        self.jobs: dict[str, JobRow] = {}
        self.instructions: dict[str, InstructionRow] = {}
        self.effects: dict[str, tuple[int, EffectRow]] = {}
        self.timers: dict[tuple[int, str], datetime] = {}
        self.key_owners: dict[str, str] = {}
        self.security_events: dict[str, SecurityEventRow] = {}
        self.logs: dict[str, LogRow] = {}
        self.migrations: dict[str, MigrationRow] = {}
        self.authorization_keys: dict[str, AuthorizationKeyRow] = {}
        self.approvals: dict[str, ApprovalRow] = {}
        self.identities: dict[str, IdentityRow] = {}
        self.holders: dict[tuple[str, str], HolderRow] = {}
        self.personal: dict[str, tuple[Disclosed, datetime]] = {}
        self.idempotency: dict[str, IdempotencyRow] = {}
        self.quarantine: dict[str, QuarantineRow] = {}

    async def close(self) -> None:
        """Nothing to close; here so that it can be swapped for the real one."""

    # ------------------------------------------------------------ the lease

    async def claim(self, partition: int, owner: str, lease: timedelta) -> Lease | None:
        self._require_available()
        row, now = self._partitions[partition], self._now()
        if row.owner != owner and row.lease_until > now:
            return None
        row.owner, row.epoch, row.lease_until = owner, row.epoch + 1, now + lease
        return self._lease(partition)

    async def renew(self, lease: Lease, duration: timedelta) -> None:
        self._held(lease).lease_until = self._now() + duration

    async def release(self, lease: Lease) -> None:
        self._require_available()
        row = self._partitions[lease.partition]
        if row.epoch == lease.epoch:
            row.owner, row.lease_until = "", LAPSED
            row.outbox_position = max(row.outbox_position, lease.outbox_position)

    # ------------------------------------------------------------ writing

    async def commit(self, lease: Lease, batch: Batch, duration: timedelta) -> Lease:
        _require_continuation(lease, batch.events)
        row = self._held(lease)
        if row.sequence != lease.sequence:
            raise Fenced(f"partition {lease.partition} is at {row.sequence}, not {lease.sequence}")
        if any((lease.partition, name) in self.inbox for name in batch.inbox):
            raise EvidenceKnown("the batch holds evidence taken before")
        chargers, certificates = self._after_upserts(batch)
        if self.fail_next_commit == "before":
            self.fail_next_commit = None
            raise Unavailable("ledger", "told to fail before writing")
        row.lease_until = self._now() + duration
        row.evidence_position, row.fleet_position = batch.evidence_position, batch.fleet_position
        row.outbox_position = max(row.outbox_position, lease.outbox_position)
        if batch.events:
            row.sequence, row.head_hash = batch.events[-1].sequence, batch.events[-1].hash
        self.chargers, self.certificates = chargers, certificates
        self._certificate_partition.update(
            (row.certificate_id, lease.partition) for row in batch.certificates
        )
        self._charger_partition.update((row.charger_id, lease.partition) for row in batch.chargers)
        self._write(lease.partition, batch)
        if self.fail_next_commit == "after":
            self.fail_next_commit = None
            raise Unavailable("ledger", "told to fail after writing")
        return self._lease(lease.partition)

    async def outbox_done(self, lease: Lease, sequence: int) -> None:
        row = self._held(lease)
        row.outbox_position = max(row.outbox_position, sequence)

    # ------------------------------------------------------------ reading back

    async def load(self, partition: int, keys: Sequence[str]) -> Mapping[str, AggregateRow]:
        self._require_available()
        found = {key: self.aggregates.get((partition, key)) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    async def aggregates_after(self, partition: int, key: str, limit: int) -> Sequence[AggregateRow]:
        self._require_available()
        rows = [row for (number, name), row in self.aggregates.items() if number == partition and name > key]
        return sorted(rows, key=lambda row: row.key)[:limit]

    async def chargers_on(self, partition: int, incarnation: str) -> Sequence[str]:
        self._require_available()
        return sorted(
            row.charger_id
            for row in self.chargers.values()
            if row.incarnation == incarnation and self._charger_partition[row.charger_id] == partition
        )

    async def known_evidence(self, partition: int, ids: Sequence[str]) -> set[str]:
        self._require_available()
        return {name for name in ids if (partition, name) in self.inbox}

    async def idempotent_answer(self, key: str) -> tuple[str, bytes] | None:
        self._require_available()
        row = self.idempotency.get(key)
        return None if row is None else (row.request_hash, row.answer)

    async def key_owner(self, spki_sha256: Sequence[str]) -> Mapping[str, str]:
        self._require_available()
        return {name: self.key_owners[name] for name in spki_sha256 if name in self.key_owners}

    async def former_certificates(
        self, partition: int, charger_ids: Sequence[str], now: datetime
    ) -> Sequence[Former]:
        self._require_available()
        found = [
            Former(
                certificate_id=row.certificate_id,
                charger_id=row.charger_id,
                managed_identity_id=row.managed_identity_id,
                purpose=row.purpose,
                state=row.state,
                issuing_ca_id=row.issuing_ca_id,
                spki_sha256=row.spki_sha256 if row.spki_sha256 is not None else spki_of(row.doc),
                issued_at=row.issued_at or row.not_before,
                not_after=row.not_after,
            )
            for row in self.certificates.values()
            if row.charger_id is not None
            and row.charger_id in charger_ids
            and self._certificate_partition[row.certificate_id] == partition
            and row.mode == "managed"
            and row.state in ENDED
            and row.not_after > now
        ]
        return sorted(found, key=lambda one: (one.charger_id, one.issued_at, one.certificate_id))

    async def certificate_docs(self, partition: int, certificate_ids: Sequence[str]) -> Mapping[str, bytes]:
        self._require_available()
        return {
            name: self.certificates[name].doc
            for name in certificate_ids
            if name in self.certificates and self._certificate_partition[name] == partition
        }

    async def serial_owner(self, serial_number: str) -> str | None:
        self._require_available()
        return _live_serials(self.chargers).get(serial_number)

    async def identity_holders(self, external_ids: Sequence[str]) -> Mapping[str, str]:
        self._require_available()
        return {
            row.external_id: row.identity_id
            for row in self.holders.values()
            if row.held and row.external_id in external_ids
        }

    async def outstanding_effects(self, partition: int) -> Sequence[EffectRow]:
        self._require_available()
        return [row for _, (number, row) in sorted(self.effects.items()) if number == partition]

    async def due(self, partition: int, limit: int) -> Sequence[tuple[str, datetime]]:
        self._require_available()
        mine = [(due_at, key) for (number, key), due_at in self.timers.items() if number == partition]
        return [(key, due_at) for due_at, key in sorted(mine)[:limit]]

    async def events_after(self, partition: int, sequence: int, limit: int) -> Sequence[EventRow]:
        self._require_available()
        return self.events[partition][sequence : sequence + limit]

    # ------------------------------------------------------------ inside

    def _require_available(self) -> None:
        if self.unavailable:
            raise Unavailable("ledger", "told to be away")

    def _held(self, lease: Lease) -> _Partition:
        self._require_available()
        row = self._partitions[lease.partition]
        if row.epoch != lease.epoch:
            raise Fenced(f"partition {lease.partition} has left epoch {lease.epoch}")
        return row

    def _lease(self, partition: int) -> Lease:
        fields = msgspec.structs.asdict(self._partitions[partition])
        del fields["lease_until"]
        return Lease(partition=partition, **fields)

    def _after_upserts(self, batch: Batch) -> tuple[dict[str, ChargerRow], dict[str, CertificateRow]]:
        """The inventory as it would be; raises Overtaken where a unique index of the real tables would."""
        chargers, certificates = dict(self.chargers), dict(self.certificates)
        chargers.update((row.charger_id, row) for row in batch.chargers)
        certificates.update((row.certificate_id, row) for row in batch.certificates)
        serials = [row.serial_number for row in chargers.values() if not row.decommissioned]
        fingerprints = [
            row.fingerprint_sha256 for row in certificates.values() if row.fingerprint_sha256 != ""
        ]
        keys = [*self.idempotency, *(row.key for row in batch.idempotency)]
        holders = self.holders | {(row.external_id, row.identity_id): row for row in batch.identity_holders}
        names = [row.external_id for row in holders.values() if row.held]
        for taken in (serials, fingerprints, keys, names):
            if len(set(taken)) != len(taken):
                raise Overtaken("ledger", "a unique value is taken", retry_after_s=1)
        return chargers, certificates

    def _write(self, partition: int, batch: Batch) -> None:
        self.commits.append(batch)
        self.events[partition].extend(batch.events)
        self.aggregates.update(((partition, row.key), row) for row in batch.aggregates)
        self.inbox.update((partition, name) for name in batch.inbox)
        self.jobs.update((row.job_id, row) for row in batch.jobs)
        self.instructions.update((row.instruction_id, row) for row in batch.instructions)
        for effect in batch.effects:
            if effect.outstanding:
                self.effects[effect.effect_id] = (partition, effect)
            else:
                self.effects.pop(effect.effect_id, None)
        for timer in batch.timers:
            if timer.due_at is not None:
                self.timers[partition, timer.key] = timer.due_at
            else:
                self.timers.pop((partition, timer.key), None)
        _keep_first(self.key_owners, ((row.spki_sha256, row.managed_identity_id) for row in batch.key_owners))
        for event in batch.security_events:
            before = self.security_events.get(event.evidence_id, event)
            self.security_events[event.evidence_id] = msgspec.structs.replace(before, doc=event.doc)
        for log in batch.logs:
            asked = self.logs.get(log.log_id, log)
            self.logs[log.log_id] = msgspec.structs.replace(asked, state=log.state, doc=log.doc)
        self.approvals.update((row.approval_id, row) for row in batch.approvals)
        self.identities.update((row.identity_id, row) for row in batch.identities)
        self.holders.update(((row.external_id, row.identity_id), row) for row in batch.identity_holders)
        for name in batch.erased_identifiers:
            self.personal.pop(name, None)
        self.migrations.update((row.charger_id, row) for row in batch.migrations)
        self.authorization_keys.update((row.charger_id, row) for row in batch.authorization_keys)
        _keep_first(self.quarantine, ((row.evidence_id, row) for row in batch.quarantine))
        self.idempotency.update((row.key, row) for row in batch.idempotency)


def _keep_first(kept: dict[str, Any], rows: Any) -> None:
    for key, value in rows:
        kept.setdefault(key, value)


def _live_serials(chargers: Mapping[str, ChargerRow]) -> dict[str, str]:
    return {row.serial_number: row.charger_id for row in chargers.values() if not row.decommissioned}


def _require_continuation(lease: Lease, events: Sequence[EventRow]) -> None:
    sequence, head = lease.sequence, lease.head_hash
    for row in events:
        if row.partition != lease.partition or row.sequence != sequence + 1 or row.previous_hash != head:
            raise LedgerCorrupt(f"event {row.partition}:{row.sequence} does not follow {sequence}")
        sequence, head = row.sequence, row.hash
