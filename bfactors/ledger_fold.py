"""One commit in the making: messages in, decisions folded, rows out. Pure; the ledger's actor loads before and writes after.

States are folded in memory while a batch is built, so the tenth message about a charger sees what the first nine did, and
each touched charger is projected once per batch, however many messages it had.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.approval import body as approval_body
from bfactors.approval import row as approval_row
from bfactors.charger import clock
from bfactors.charger import decide as charger_decide
from bfactors.charger.draft import Context
from bfactors.charger.evolve import evolve
from bfactors.charger.project import charger_body, job_body, project
from bfactors.charger.security_entry import security_event_row
from bfactors.charger.state import ChargerState, JobState, SessionFact
from bfactors.firmware.command import FirmwareCommand
from bfactors.firmware_fold import FirmwareFold, FirmwareLoaded, owned_key, wrong_role
from bfactors.fleet import approval as fleet_approval
from bfactors.fleet import clock as fleet_clock
from bfactors.fleet import decide as fleet_decide
from bfactors.fleet import reconciliation
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.identity import FLEET
from bfactors.identity_fold import IdentitiesLoaded, IdentityFold
from bfactors.identity_record.command import IdentityCommand
from bfactors.ledger_row import (
    AggregateRow,
    Batch,
    CommonHash,
    EventRow,
    IdempotencyRow,
    KeyOwnerRow,
    Lease,
    QuarantineRow,
    TimerRow,
)
from bfactors.reach import out_of_reach
from bfactors.refusal import Refusal

FLEET_KEY = "fleet"
FACTS_KEY = "fleet-facts"
_CHARGER_PREFIX = "charger:"
_encode = msgspec.json.Encoder().encode
_NO_JOBS: Mapping[str, JobState] = {}

_Columns = tuple[str | None, str | None, str | None, str | None, str | None, str | None]
"""Charger, managed identity, purpose, variant, job and certificate of an event, where it has them."""


def charger_key(charger_id: str) -> str:
    """The aggregate key of a charger."""
    return _CHARGER_PREFIX + charger_id


def charger_of_key(key: str) -> str:
    """The charger an aggregate key belongs to."""
    return key.removeprefix(_CHARGER_PREFIX)


class Loaded(msgspec.Struct, kw_only=True):
    """What a batch starts from. `states` holds every charger a message names (None: not registered)."""

    facts: FleetFacts
    states: dict[str, ChargerState | None]
    fleet: FleetState | None = None
    key_owners: dict[str, str] = {}
    serial_owners: dict[str, str] = {}
    firmware: FirmwareLoaded = FirmwareLoaded()
    identities: IdentitiesLoaded = IdentitiesLoaded()
    recalled: Mapping[str, tuple[e.CertificateRecalled, ...]] = {}
    """By charger, older certificates that the messages are about."""


class Fold:
    """Applies messages one after another and builds the batch that records what they led to."""

    def __init__(
        self, lease: Lease, loaded: Loaded, now: datetime, ocpp_url: str, keep_hash: bool = True
    ) -> None:
        self._lease = lease
        self._before = dict(loaded.states)
        self._key_owners = dict(loaded.key_owners)
        self._serial_owners = dict(loaded.serial_owners)
        self._recalled = loaded.recalled
        self._ocpp_url = ocpp_url
        self._hash = lease.head_hash
        self._sequence = lease.sequence
        self._keep_hash = keep_hash
        self._common: CommonHash
        self._common_of: FleetFacts | None = None
        self.now = now
        self.facts = loaded.facts
        self.fleet = self._fleet_before = loaded.fleet
        self.states = dict(loaded.states)
        self.jobs: dict[str, dict[str, JobState]] = {}
        self.displaced: list[tuple[str, SessionFact]] = []
        self.looked_at: set[str] = set()
        """Chargers whose clock rang: their orders and their next moment may be others, even if no event followed."""
        self.facts_changed = False
        self.everyone_concerned = False
        """Policies, waivers or family facts changed: what was derived from them may be out of date for any charger."""
        self.fleet_changed = False
        self._fleet_rang = False
        self.batch = Batch(evidence_position=lease.evidence_position, fleet_position=lease.fleet_position)
        self.firmware = FirmwareFold(loaded.firmware, lease.partition, now, self._append)
        self.identities = IdentityFold(loaded.identities, now, self._append)

    @property
    def partition(self) -> int:
        return self._lease.partition

    # ------------------------------------------------------------ messages

    def evidence(self, evidence: v.Evidence, position: int | None = None) -> None:
        """Fold one fact. `position` is its place in the stream; None for what the partition told itself."""
        if position is not None:
            self.batch.evidence_position = max(self.batch.evidence_position, position)
            self.batch.inbox.append(evidence.evidence_id)
        body = evidence.body
        if isinstance(body, v.FleetFactsChanged):
            self._take_facts(body.facts)
            return
        if self._lease.partition == FLEET:
            self._fleet_evidence(evidence)
            return
        self._charger_evidence(evidence, evidence.charger_id)

    def node_lost(
        self, evidence: v.Evidence, lost: v.NodeLost, charger_ids: Sequence[str], position: int
    ) -> None:
        """Fold the loss of a node: for the chargers the store knows on it, and those that this batch put there."""
        self.batch.evidence_position = max(self.batch.evidence_position, position)
        self.batch.inbox.append(evidence.evidence_id)
        here = {
            charger_id
            for charger_id, state in self.states.items()
            if state is not None
            and state.session is not None
            and state.session.incarnation == lost.incarnation
        }
        for charger_id in sorted(here.union(charger_ids)):
            self._charger_evidence(evidence, charger_id)

    def seen(self, evidence: v.Evidence, position: int) -> None:
        """A late duplicate: only the position moves."""
        self.batch.evidence_position = max(self.batch.evidence_position, position)

    def command(self, envelope: c.CommandEnvelope) -> c.CommandAnswer:
        """Fold one command and answer it (the answer is given once the batch is committed)."""
        body = envelope.body
        refusal = wrong_role(envelope) or out_of_reach(
            envelope, self.states.get(getattr(body, "charger_id", ""))
        )
        if refusal is not None:
            answer = c.CommandAnswer(refusal=refusal)
        elif isinstance(body, FirmwareCommand):
            answer = self.firmware.command(
                envelope,
                body,
                facts=self.facts,
                fleet=self.fleet,
                state=self.states.get(getattr(body, "charger_id", "")),
                key_owners=self._key_owners,
            )
        elif isinstance(body, IdentityCommand):
            answer = self._identity_command(envelope, body)
        elif isinstance(body, charger_decide.ChargerCommand):
            answer = self._charger_command(envelope, body)
        else:
            answer = self._fleet_command(envelope, body)
        if envelope.idempotency_key:
            row = IdempotencyRow(envelope.idempotency_key, envelope.request_hash, _encode(answer))
            self.batch.idempotency.append(row)
        return answer

    def quarantine(self, evidence: v.Evidence, position: int, error: str, raw: bytes | None = None) -> None:
        """Set aside a fact that cannot be decided on; its charger is paused, the partition goes on.

        `raw` is what arrived, where that could not even be read.
        """
        self.batch.evidence_position = max(self.batch.evidence_position, position)
        self.batch.inbox.append(evidence.evidence_id)
        self.batch.quarantine.append(
            QuarantineRow(
                evidence.evidence_id,
                evidence.charger_id,
                error[:500],
                raw if raw is not None else _encode(evidence),
            )
        )
        event = e.EvidenceQuarantined(
            charger_id=evidence.charger_id or None, evidence_id=evidence.evidence_id, error=error[:200]
        )
        state = self.states.get(evidence.charger_id)
        self._append(event, "ledger", evidence.evidence_id, state)
        if state is not None:
            self.states[evidence.charger_id] = evolve(state, event, self.now)

    # ------------------------------------------------------------ chargers

    def _context(self, charger_id: str, cause: str, actor: str, serial_number: str | None = None) -> Context:
        return Context(
            now=self.now,
            cause=cause,
            actor=actor,
            facts=self.facts,
            ocpp_url=self._ocpp_url,
            key_owners=self._key_owners,
            serial_owner=self._serial_owners.get(serial_number) if serial_number is not None else None,
            recalled=self._recalled.get(charger_id, ()),
        )

    def _charger_evidence(self, evidence: v.Evidence, charger_id: str) -> None:
        state = self.states.get(charger_id)
        context = self._context(charger_id, evidence.evidence_id, evidence.source)
        if state is None:
            self._unregistered(evidence)
            return
        if self.firmware.evidence(evidence, state, self.facts):
            return
        decision = charger_decide.decide_evidence(state, evidence, context)
        if isinstance(evidence.body, v.DeadlinePassed):
            self.looked_at.add(charger_id)
        self._take(decision, evidence.source, evidence.evidence_id)
        if decision.displaced is not None:
            self.displaced.append((charger_id, decision.displaced))

    def _unregistered(self, evidence: v.Evidence) -> None:
        """Somebody tried to be a charger nobody registered: on record, and nothing else."""
        body = evidence.body
        if isinstance(body, v.ConnectionRefused):
            event = e.SecurityEventRecorded(
                charger_id=evidence.charger_id,
                kind=f"ConnectionRefused/{body.reason}",
                detail="",
                count=body.count,
                remote_address=body.remote_address,
            )
            self._append(event, evidence.source, evidence.evidence_id, None)

    def _charger_command(
        self, envelope: c.CommandEnvelope, body: charger_decide.ChargerCommand
    ) -> c.CommandAnswer:
        serial = body.serial_number if isinstance(body, c.RegisterCharger | c.ReplaceUnit) else None
        context = self._context(body.charger_id, envelope.command_id, envelope.actor, serial)
        decision = charger_decide.decide_command(self.states.get(body.charger_id), body, context)
        self._take(decision, envelope.actor, envelope.command_id)
        if decision.refusal is not None or decision.state is None:
            return c.CommandAnswer(refusal=decision.refusal)
        if isinstance(body, c.RegisterCharger | c.ReplaceUnit):
            self._serial_owners[body.serial_number] = body.charger_id
        state = decision.state
        if decision.held_by is not None:
            approval = state.approvals[decision.held_by]
            return c.CommandAnswer(result=_encode(approval_body(approval, state.charger_id)), is_held=True)
        if decision.job_id is not None:
            job = decision.jobs.get(decision.job_id) or state.jobs[decision.job_id]
            return c.CommandAnswer(result=_encode(job_body(state, job)))
        if isinstance(body, c.CancelJob):
            return c.CommandAnswer(result=_encode(job_body(state, decision.jobs[body.job_id])))
        if isinstance(body, c.DecideApproval):
            approval = state.approvals[body.approval_id]
            return c.CommandAnswer(result=_encode(approval_body(approval, body.charger_id)))
        return c.CommandAnswer(result=_encode(charger_body(state)))

    def _take(self, decision: charger_decide.Decision, actor: str, cause: str) -> None:
        state = decision.state
        if state is None or not decision.events:
            return
        self.states[state.charger_id] = state
        if decision.jobs:
            self.jobs.setdefault(state.charger_id, {}).update(decision.jobs)
        jobs = self.jobs.get(state.charger_id, {})
        for event in decision.events:
            self._append(event, actor, cause, state, jobs)

    def _identity_command(self, envelope: c.CommandEnvelope, body: IdentityCommand) -> c.CommandAnswer:
        charger = self.states.get(body.charger_id or "")
        told = self.identities.command(body, charger, by=envelope.actor, cause=envelope.command_id)
        if isinstance(told, Refusal):
            return c.CommandAnswer(refusal=told)
        part = self.identities.part(body.identity_id, charger.charger_id) if charger is not None else None
        if part is not None and charger is not None:
            context = self._context(charger.charger_id, envelope.command_id, envelope.actor)
            self._take(
                charger_decide.decide_part(charger, part, context), envelope.actor, envelope.command_id
            )
        return c.CommandAnswer(result=told)

    # ------------------------------------------------------------ the fleet

    def _take_facts(self, facts: FleetFacts) -> None:
        if facts.sequence > self.facts.sequence:
            self.everyone_concerned |= (
                facts.policies.version != self.facts.policies.version
                or facts.families != self.facts.families
                or facts.waivers != self.facts.waivers
                or facts.rollovers != self.facts.rollovers
                or facts.incidents != self.facts.incidents
            )
            self.facts = facts
            self.batch.fleet_position = facts.sequence
            self.facts_changed = True

    def _fleet_evidence(self, evidence: v.Evidence) -> None:
        assert self.fleet is not None
        if isinstance(evidence.body, v.DeadlinePassed):
            self._fleet_rang = True
        decision = fleet_decide.decide_evidence(self.fleet, evidence, self.now)
        self._take_fleet(decision, evidence.source, evidence.evidence_id)

    def _fleet_command(self, envelope: c.CommandEnvelope, body: fleet_decide.FleetCommand) -> c.CommandAnswer:
        if self.fleet is None:
            refusal = Refusal("wrong-partition", "fleet commands belong to the fleet partition", status=500)
            return c.CommandAnswer(refusal=refusal)
        shared = self.firmware.refusal_of(body)
        if shared is not None:
            return c.CommandAnswer(refusal=shared)
        decision = fleet_decide.decide_command(self.fleet, body, envelope.actor, self.now)
        self._take_fleet(decision, envelope.actor, envelope.command_id)
        if decision.refusal is not None:
            return c.CommandAnswer(refusal=decision.refusal)
        return c.CommandAnswer(result=_encode(decision.result), is_held=decision.is_held)

    def _take_fleet(self, decision: fleet_decide.FleetDecision, actor: str, cause: str) -> None:
        if not decision.events:
            return
        for event in decision.events:
            self._append(event, actor, cause, None)
        assert self.fleet is not None
        news = fleet_approval.news(self.fleet.approvals, decision.state.approvals)
        self.batch.approvals += [approval_row(approval, None) for approval in news]
        self.fleet = decision.state
        if fleet_decide.changes_facts(decision.events):
            self.fleet = fleet_decide.with_sequence(self.fleet, self._sequence)
            self.facts = self.fleet.facts
            self.facts_changed = True
        self.fleet_changed = True

    # ------------------------------------------------------------ rows

    def _append(
        self,
        event: msgspec.Struct,
        actor: str,
        cause: str,
        state: ChargerState | None,
        jobs: Mapping[str, JobState] | None = None,
    ) -> None:
        self._sequence += 1
        if self._common_of is not self.facts:
            self._common_of = self.facts
            self._common = CommonHash(
                self._lease.partition, self.now, self.facts.policies.version, self.facts.sequence
            )
        common, previous = self._common, self._hash
        name, payload = e.name_of(event), e.payload_of(event)
        charger_id, identity, purpose, variant, job_id, certificate_id = _columns(event, state, jobs)
        if self._keep_hash:
            self._hash = common.of(
                previous_hash=previous,
                sequence=self._sequence,
                event=name,
                schema_version=e.SCHEMA_VERSION,
                actor=actor,
                cause=cause,
                charger_id=charger_id,
                managed_identity_id=identity,
                purpose=purpose,
                variant=variant,
                job_id=job_id,
                certificate_id=certificate_id,
                payload=payload,
            )
        self.batch.events.append(
            EventRow(
                partition=common.partition,
                sequence=self._sequence,
                event=name,
                schema_version=e.SCHEMA_VERSION,
                recorded_at=common.recorded_at,
                actor=actor,
                cause=cause,
                policy_version=common.policy_version,
                fleet_sequence=common.fleet_sequence,
                charger_id=charger_id,
                managed_identity_id=identity,
                purpose=purpose,
                variant=variant,
                job_id=job_id,
                certificate_id=certificate_id,
                payload=payload,
                previous_hash=previous,
                hash=self._hash,
            )
        )
        if isinstance(event, e.CSRValidated) and state is not None:
            self._own_key(event.spki_sha256, identity or state.managed_identity_id)
        given = owned_key(event)
        if given is not None:
            self._own_key(*given)
        if isinstance(event, e.SecurityEventRecorded):
            self.batch.security_events.append(security_event_row(event, cause, state, self.now))

    def _own_key(self, spki_sha256: str, managed_identity_id: str) -> None:
        if spki_sha256 not in self._key_owners:
            self._key_owners[spki_sha256] = managed_identity_id
            self.batch.key_owners.append(KeyOwnerRow(spki_sha256, managed_identity_id))

    def finish(self) -> Batch:
        """Project what was touched and return the batch. Call once."""
        for charger_id, after in self.states.items():
            before = self._before.get(charger_id)
            if after is None or after is before:
                continue
            rows = project(before, after, self.jobs.get(charger_id, {}), self.facts)
            key = charger_key(charger_id)
            self.batch.aggregates.append(AggregateRow(key, after.revision, _encode(after)))
            self.batch.chargers.append(rows.charger)
            self.batch.certificates += rows.certificates
            self.batch.jobs += rows.jobs
            self.batch.instructions += rows.instructions
            self.batch.effects += rows.effects
            self.batch.logs += rows.logs
            self.batch.migrations += rows.migrations
            self.batch.authorization_keys += rows.authorization_keys
            self.batch.approvals += rows.approvals
            self.batch.timers.append(TimerRow(key, clock.next_due(after, self.facts, self.now)))
        for charger_id in sorted(self.looked_at):
            state = self.states[charger_id]
            if state is not None and state is self._before.get(charger_id):
                due_at = clock.next_due(state, self.facts, self.now)
                self.batch.timers.append(TimerRow(charger_key(charger_id), due_at))
        self.batch.aggregates += self.firmware.rows()
        self.identities.write(self.batch)
        if self.fleet_changed and self.fleet is not None:
            self.batch.aggregates.append(AggregateRow(FLEET_KEY, self.fleet.revision, _encode(self.fleet)))
            self.batch.effects += reconciliation.effect_rows(self._fleet_before, self.fleet)
            self._fleet_rang = True
        elif self.facts_changed and self._lease.partition != FLEET:
            self.batch.aggregates.append(AggregateRow(FACTS_KEY, self.facts.sequence, _encode(self.facts)))
        if self._fleet_rang and self.fleet is not None:
            self.batch.timers.append(TimerRow(FLEET_KEY, fleet_clock.next_due(self.fleet)))
        return self.batch

    def touched(self) -> list[tuple[ChargerState | None, ChargerState]]:
        """(before, after) of every charger that changed or was looked at."""
        return [
            (self._before.get(charger_id), after)
            for charger_id, after in self.states.items()
            if after is not None
            and (charger_id in self.looked_at or after is not self._before.get(charger_id))
        ]


def _columns(
    event: msgspec.Struct, state: ChargerState | None, jobs: Mapping[str, JobState] | None
) -> _Columns:
    job_id: str | None = getattr(event, "job_id", None) or None
    certificate_id: str | None = getattr(event, "certificate_id", None)
    purpose: str | None = getattr(event, "purpose", None)
    variant: str | None = getattr(event, "variant", None)
    charger_id: str | None = getattr(event, "charger_id", None)
    identity: str | None = getattr(event, "managed_identity_id", None)
    if state is not None:
        charger_id = state.charger_id
        identity = identity if identity in state.parts else state.managed_identity_id
        if purpose is None:
            certificate = state.certificates.get(certificate_id) if certificate_id else None
            about = certificate or state.jobs.get(job_id or "") or (jobs or _NO_JOBS).get(job_id or "")
            if certificate is not None and certificate.former_identity_id:
                identity = certificate.former_identity_id
            if about is not None:
                identity = about.part or identity
                purpose, variant = about.purpose, about.variant
    return charger_id, identity, purpose, variant, job_id, certificate_id
