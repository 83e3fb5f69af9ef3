"""One charger's real decisions, the fleet's, a CA in memory, and actors that die over them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from actors.issuance import IssuanceActor, IssuancePorts, Settled, Wanted
from actors.mailbox import MailboxState
from actors.reconciliation import ReconciliationActor, ReconciliationPorts
from bfactors import event as e
from bfactors import evidence as v
from bfactors.ca import Transient
from bfactors.charger import outgoing
from bfactors.charger.state import CertificateRecord
from bfactors.command import CommandAnswer, CommandEnvelope, RequestReconciliation
from bfactors.effect import Effect
from bfactors.fleet import decide as fleet_decide
from bfactors.fleet import reconciliation
from bfactors.fleet.state import FleetState, Reconciliation, authority_id_of
from bfactors.known_certificate import KnownCertificate
from tests.core import pki
from tests.core.world import ARN, World
from tests.fakes.ca import CountedMetrics, FakeCa, ManualTime, settle

CSR = pki.csr("SN-1")


class WorldIndex:
    """`CertificateIndex` over one charger's state."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.remembered: dict[str, KnownCertificate] = {}
        """Rows of certificates that the charger's state has dropped, by serial number."""

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        rows = self.remembered | {each.serial_number: each for each in self._all()}
        return {serial: row for serial, row in rows.items() if serial in serial_numbers}

    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        rows = sorted(self._all(), key=lambda each: (each.not_after, each.certificate_id))
        behind = [each for each in rows if after is None or (each.not_after, each.certificate_id) > after]
        return [each for each in behind if each.purpose == purpose][:limit]

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        keys = {event.spki_sha256 for event in self._world.events if isinstance(event, e.CSRValidated)}
        return self._world.charger.charger_id if spki_sha256 in keys else None

    def _all(self) -> list[KnownCertificate]:
        return [
            KnownCertificate(
                certificate_id=each.certificate_id,
                charger_id="CP-1",
                purpose=each.purpose,
                state=each.state,
                serial_number=each.serial_number,
                issuing_ca_id=each.issuing_ca_id,
                external_ref=each.external_ref,
                not_after=each.not_after,
                issued_at=each.issued_at,
                revocation_requested_at=each.revocation_requested_at,
                revoked_at=each.revoked_at,
            )
            for each in self._world.charger.certificates.values()
        ]


class Ledger:
    """One charger's real decisions behind an evidence log, and the router that tells the actor what changed."""

    def __init__(self) -> None:
        self.world = World()
        self.time = ManualTime(self.world.now)
        self.ca = FakeCa(self.time)
        self.seen: list[str] = []
        self.bodies: list[v.EvidenceBody] = []
        self.failures: list[BaseException] = []
        self.actor: IssuanceActor | None = None
        self.reconciler: ReconciliationActor | None = None
        self.auditor: FakeCa | None = self.ca
        self.world.request()
        self.world.connect()
        self.world.confirm_trust()
        self.world.carry_out()
        self.fleet = FleetState(facts=self.world.facts)
        self.fleet_events: list[object] = []
        self.hour_utc: int | None = None
        self.metrics = CountedMetrics()
        self.index = WorldIndex(self.world)
        self.outstanding: dict[str, Effect] = {}

    def wake(self) -> IssuanceActor:
        """A new actor, given everything outstanding; the one before is dead where it stood."""
        self.kill()
        ports = IssuancePorts(
            authority=self.ca,
            revoker=self.ca,
            evidence=self,
            clock=self.time,
            metrics=CountedMetrics(),
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
        )
        self.actor = IssuanceActor("charging_station", ports)
        self.actor.start(lambda _, error, __: self.failures.append(error))
        self.reconciler = ReconciliationActor(
            "charging_station",
            ReconciliationPorts(
                authority=self.ca,
                auditor=self.auditor,
                index=self.index,
                commands=self,
                evidence=self,
                clock=self.time,
                metrics=self.metrics,
                sleep=self.time.sleep,
                uniform=lambda low, high: (low + high) / 2,
            ),
            hour_utc=self.hour_utc,
        )
        self.reconciler.start(lambda _, error, __: self.failures.append(error))
        for effect in self.outstanding.values():
            self._tell(Wanted(effect))
        return self.actor

    def kill(self) -> None:
        for each in (self.actor, self.reconciler):
            if each is not None:
                each.abandon()

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        await asyncio.sleep(0)
        if evidence.evidence_id not in self.seen:
            self.seen.append(evidence.evidence_id)
            self.bodies.append(evidence.body)
            self.world.now = self.time.now()
            if evidence.charger_id:
                self.world.tell(evidence.body)
            else:
                self._take(fleet_decide.decide_evidence(self.fleet, evidence, self.time.now()))
            self.tell_changes()
        await asyncio.sleep(0)

    def ask_for(self, run_id: str) -> None:
        """Have everything compared."""
        body = RequestReconciliation(purpose="charging_station", run_id=run_id, reason="test")
        self._take(fleet_decide.decide_command(self.fleet, body, "operator:test", self.time.now()))
        self.tell_changes()

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        """The door of commands, for those of the fleet."""
        await asyncio.sleep(0)
        assert isinstance(command.body, RequestReconciliation)
        decided = fleet_decide.decide_command(self.fleet, command.body, command.actor, self.time.now())
        self._take(decided)
        self.tell_changes()
        return CommandAnswer(refusal=decided.refusal)

    def _take(self, decided: fleet_decide.FleetDecision) -> None:
        self.fleet = decided.state
        self.fleet_events += decided.events

    async def reconcile(self, run_id: str) -> Reconciliation:
        """A life in which everything is compared; whatever else is owed goes on beside it."""
        if self.reconciler is None or self.reconciler.state is not MailboxState.OPEN:
            self.wake()
        self.ask_for(run_id)
        for _ in range(1000):
            if not any(each.wanted for each in self.fleet.reconciliations.values()):
                break
            await self.time.advance(5)
        assert self.failures == []
        return self.compared

    @property
    def compared(self) -> Reconciliation:
        """The comparison with the first CA."""
        return self.fleet.reconciliations[authority_id_of("charging_station", ARN)]

    def tell_changes(self) -> None:
        wanted = {
            effect.effect_id: effect
            for effect in (
                *outgoing.effects(self.world.charger, self.world.facts),
                *reconciliation.effects(self.fleet),
            )
        }
        for effect_id in set(self.outstanding) - set(wanted):
            self._tell(Settled(effect_id))
        for effect_id, effect in wanted.items():
            if self.outstanding.get(effect_id) != effect:
                self._tell(Wanted(effect))
        self.outstanding = wanted

    def _tell(self, message: Wanted | Settled) -> None:
        for each in (self.actor, self.reconciler):
            if each is not None and each.state is MailboxState.OPEN:
                each.tell(message)

    def take_csr(self) -> None:
        self.world.now = self.time.now()
        self.world.present_csr(CSR)
        self.tell_changes()

    async def live(self, turns: int) -> None:
        """Let the actor go on for so many turns of the loop, and kill it there."""
        self.wake()
        for _ in range(turns):
            await asyncio.sleep(0)
        self.kill()
        await settle(3)

    async def lose_the_answer(self) -> None:
        """The CA signs, and the actor dies before it hears of it."""
        self.wake()
        silence = Transient("ReadTimeoutError", "no answer", may_have_happened=True)
        self.ca.fail("issue", silence, took_effect=True)
        self.take_csr()
        await settle()
        self.kill()
        assert len(self.ca.made) == 1

    async def finish(self) -> None:
        """A life that is left in peace, until nothing is owed any more."""
        self.wake()
        for _ in range(1000):
            await self.time.advance(5)
            if not self.outstanding:
                break
        assert self.failures == []
        assert self.outstanding == {}

    @property
    def certificates(self) -> list[CertificateRecord]:
        return list(self.world.charger.certificates.values())

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.world.events)
