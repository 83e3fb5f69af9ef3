"""One charger driven by arbitrary messages in arbitrary order, and what must hold of it at any time."""

from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from bfactors import command as c
from bfactors import event as e
from bfactors import evidence as v
from bfactors.certificate_hash import HashData
from bfactors.charger import clock, outgoing, plan
from bfactors.charger.decide import ChargerCommand, Decision, decide_command, decide_evidence
from bfactors.charger.evolve import evolve
from bfactors.charger.project import project
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.effect import Effect, IssueCertificate, MintKey, ReconcileIssuance, RevokeCertificate
from bfactors.instruction import (
    CallAction,
    DeleteCertificate,
    InstallLeaf,
    InstructionOrder,
    ListCertificates,
    RaiseSecurityProfile,
    ReadSettings,
    SetNetworkProfile,
    SetProfilePriority,
    WriteAuthorizationKey,
    is_reset,
)
from bfactors.ocpp import Answered, CallFailed, Outcome
from tests.core import pki
from tests.core.world import World, fleet_facts

VERIFIER = "5ec2e7" * 10
USABLE = ("issued", "installed", "active")
SCHEMA = {kind.__name__: kind for kind in e.ChargerEvent.__args__}


class Model(World):
    """A World that remembers everything it was told and checks itself after every message."""

    def __init__(self, target_security_profile: int = 3) -> None:
        self.log: list[tuple[e.ChargerEvent, Any]] = []
        self.before: ChargerState | None = None
        self.effects: dict[str, Effect] = {}
        self.sent: list[InstructionOrder] = []
        self.fingerprints_seen: set[str] = set()
        self.issued: set[str] = set()
        self.ended: set[str] = set()
        self.has_used_profile_3 = False
        self.reset_on: set[str] = set()
        self.keys_held = {1}
        """The generations the charger can present, whatever it said of them."""
        self.told: list[v.EvidenceBody] = []
        self.approved_by_another = False
        super().__init__(
            fleet_facts(),
            key=_key(),
            key_origin="generated",
            security_profile=2,
            target_security_profile=target_security_profile,
        )

    # ------------------------------------------------------------ messages

    def command(self, command: ChargerCommand) -> Decision:
        self.before = self.state
        context = self.context()
        decision = self._take(decide_command(self.state, command, context))
        assert _texts(decision) == _texts(decide_command(self.before, command, context))
        return self._folded(decision)

    def tell(self, body: v.EvidenceBody) -> Decision:
        self.before = self.state
        self.told.append(body)
        if isinstance(body, v.SessionOpened) and body.fingerprint_sha256 is not None:
            self.fingerprints_seen.add(body.fingerprint_sha256)
            self.has_used_profile_3 |= body.security_profile == 3
        context = self.context()
        evidence = v.Evidence(
            evidence_id=context.cause, charger_id="CP-1", source="test", observed_at=self.now, body=body
        )
        decision = self._take(decide_evidence(self.state, evidence, context))
        assert _texts(decision) == _texts(decide_evidence(self.before, evidence, context))
        return self._folded(decision)

    def _folded(self, decision: Decision) -> Decision:
        self.log += [(event, self.now) for event in decision.events]
        project(self.before, self.charger, decision.jobs, self.facts)
        for effect in outgoing.effects(self.charger, self.facts):
            self.effects[effect.effect_id] = effect
        self.check(decision)
        return decision

    def ring(self) -> None:
        """Let the partition's timer ring for whatever is due; it must come to rest."""
        for _ in range(12):
            due_at = clock.next_due(self.charger, self.facts, self.now)
            if due_at is None or due_at > self.now:
                return
            self.tell(v.DeadlinePassed(at=due_at))
        raise AssertionError(f"the clock rings for ever: {self.charger.jobs}")

    def advance(self, duration: timedelta) -> None:
        """Time passes; every deadline on the way rings in its turn."""
        until = self.now + duration
        for _ in range(60):
            due_at = clock.next_due(self.charger, self.facts, self.now)
            if due_at is None or due_at > until:
                break
            self.now = max(self.now, due_at)
            self.tell(v.DeadlinePassed(at=due_at))
        self.now = until
        self.ring()

    # ------------------------------------------------------------ what must hold

    def check(self, decision: Decision) -> None:
        state = self.charger
        for event in decision.events:
            self._check_event(event)
        self._check_slots(state)
        self._check_lost(decision)
        for job in state.jobs.values():
            assert job.state == "open"
            assert job.job_id not in self.ended, f"{job.job_id} has ended and is open"
            self._check_moving(state, job)
        for instruction in state.instructions.values():
            assert instruction.job_id is None or instruction.job_id in state.jobs, instruction
        for ended in decision.jobs.values():
            if ended.state != "open":
                self.ended.add(ended.job_id)
        self._check_orders(state)
        record = outgoing.admission(state)
        self._check_profiles(state)
        self._check_migration(state)
        for known in record.credentials:
            certificate = state.certificates[known.certificate_id]
            if certificate.revocation_requested_at is not None or certificate.state == "revoked":
                assert known.state == "revoked"
            elif certificate.is_denied:
                assert known.state == "inactive"
        self._check_incidents(decision, state)
        self._check_not_locked_out(state)
        self.check_keys()

    def check_keys(self) -> None:
        """Some key that the charger holds is admitted, one key at most is the active one, and nothing is left unsettled."""
        state = self.charger
        admitted = {key.generation: key.state for key in outgoing.admission(state).keys}
        if not self.has_used_profile_3:
            assert self.keys_held & set(admitted), (self.keys_held, admitted)
        active = list(admitted.values()).count("active")
        assert active == 1 or (active == 0 and self.has_used_profile_3), admitted
        for key in state.pending_keys:
            assert (key.job_id in state.jobs) is (key.doubted_at is None), key
            assert (key.generation in admitted) is (key.prepared_at is not None), key
        told = [i for i in state.instructions.values() if isinstance(i.body, WriteAuthorizationKey)]
        assert {i.job_id for i in told} <= set(state.jobs)
        assert len({(i.job_id, i.body) for i in told}) == len(told) <= 1

    def note_reset(self, order: InstructionOrder, outcome: Outcome) -> None:
        """A Reset leaves: none that was not refused may have left on that session before."""
        if not is_reset(order.body):
            return
        job = self.charger.jobs.get(self.charger.instructions[order.instruction_id].job_id or "")
        if job is not None and job.action in ("issue", "renew"):  # the ladder's; others answer for themselves
            assert order.session_id not in self.reset_on, "two resets without a reconnect between"
        if not isinstance(outcome, CallFailed) and outcome != Answered("Rejected"):
            self.reset_on.add(order.session_id)

    def _check_profiles(self, state: ChargerState) -> None:
        """Never lower than what succeeded but by a way back; never without what the charger may come with."""
        record = outgoing.admission(state)
        told = {
            order.body.security_profile
            for order in self.sent
            if isinstance(order.body, SetNetworkProfile | RaiseSecurityProfile)
        }
        if not self.has_used_profile_3:
            assert 2 in record.allowed_profiles
            assert told <= set(record.allowed_profiles), "it may come up with what it was told of at any time"
            return
        assert 3 in record.allowed_profiles
        way = state.way_back
        assert (2 in record.allowed_profiles) == (way is not None)
        if way is not None:
            assert way.ends_at > self.now
            assert all(key.generation > way.after_generation for key in record.keys)
            assert self.approved_by_another, "nobody agreed to it"
            assert way.used_at is None or self.keys_held & {key.generation for key in record.keys}

    def _check_migration(self, state: ChargerState) -> None:
        case = state.migration
        if case is None:
            return
        assert not case.is_under_way or case.job_id in state.jobs
        if case.state in ("pending", "quarantine", "completed", "cancelled"):
            kinds = (SetNetworkProfile, SetProfilePriority, RaiseSecurityProfile)
            assert not any(
                i.job_id == case.job_id and isinstance(i.body, kinds) for i in state.instructions.values()
            )
        if case.state == "completed" and case.target_profile == 3:
            assert self.has_used_profile_3
        if case.state == "active":
            assert case.missing == ()

    def _check_event(self, event: e.ChargerEvent) -> None:
        text = e.payload_of(event)
        assert VERIFIER not in text
        if isinstance(event, e.CertificateIssued):
            self.issued.add(event.certificate_id)
        if isinstance(event, e.CertificateDiscarded):
            assert self.before is not None
            for key, slot in self.before.slots.items():
                assert slot.current in (None, self.charger.slots[key].current), "the live one was lost"
        if isinstance(event, e.CertificateActivated):
            certificate = self.charger.certificates[event.certificate_id]
            assert certificate.certificate_id in self.issued
            assert self.has_proof_of_use(certificate)

    def has_proof_of_use(self, certificate: CertificateRecord) -> bool:
        """Whether the charger itself has shown that it uses this leaf."""
        return certificate.fingerprint_sha256 in self.fingerprints_seen

    def _check_lost(self, decision: Decision) -> None:
        """What was current is so still, or something in this decision says what became of it."""
        for key, slot in (self.before.slots if self.before is not None else {}).items():
            now = self.charger.slots[key].current
            if slot.current is None or slot.current == now:
                continue
            ends = [each for each in decision.events if getattr(each, "certificate_id", None) == slot.current]
            superseded = [each for each in ends if isinstance(each, e.CertificateSuperseded)]
            assert ends, "the live one was lost"
            assert all(each.superseded_by == now for each in superseded), (
                "superseded by nothing that is in use"
            )

    def _check_slots(self, state: ChargerState) -> None:
        for slot in state.slots.values():
            current = state.certificates.get(slot.current) if slot.current else None
            following = state.certificates.get(slot.next) if slot.next else None
            if slot.current:
                assert current is not None
                assert current.state == "active"
                assert current.revocation_requested_at is None
            if slot.next:
                assert following is not None
                assert following.state in ("issued", "installed")
            assert slot.current is None or slot.current != slot.next
        active = [c for c in state.certificates.values() if c.is_usable and c.state == "active"]
        current = [s.current for s in state.slots.values() if s.current]
        assert sorted(c.certificate_id for c in active) == sorted(current)

    def _check_moving(self, state: ChargerState, job: JobState) -> None:
        """Somebody or something moves the job on, or it says whom it waits for."""
        instructions = [i for i in state.instructions.values() if i.job_id == job.job_id]
        effects = {x.effect_id: x for x in outgoing.effects(state, self.facts)}
        match job.waiting_for:
            case "connection":
                assert state.session is None or instructions, job
            case "charger":
                assert instructions or job.due_at is not None, job
            case "ca":
                assert any(
                    (isinstance(x, IssueCertificate) and x.job_id == job.job_id)
                    or (isinstance(x, RevokeCertificate) and x.certificate_id == job.certificate_id)
                    for x in effects.values()
                ), job
            case "reconciliation":
                assert job.reason_code, job
                assert any(
                    isinstance(x, ReconcileIssuance) and x.job_id == job.job_id for x in effects.values()
                ), job
            case "operator":
                assert job.reason_code, job
            case "profile-with-password":
                assert state.session is None or state.session.security_profile not in (1, 2), job
            case "reconnect" | "upload" | "receiver" | "reboot":
                assert job.due_at is not None or job.overdue, job
            case "key":
                assert any(isinstance(x, MintKey) and x.job_id == job.job_id for x in effects.values()), job
            case "approval":
                assert any(
                    one.state == "open" and one.job_id == job.job_id for one in state.approvals.values()
                )
            case "visit" | "end-of-rollback":
                assert state.way_back is not None, job
            case "migration":
                case = state.migration
                assert case is not None, job
                assert case.is_under_way, job
                assert case.state != "quarantine", job
            case "profile-migration":
                assert state.target_security_profile < 3, job
            case None:
                assert job.held_by is not None, job
                assert job.reason_code is not None, job
                assert job.reason_message, job
            case _:
                raise AssertionError(job)
        if job.overdue:
            assert job.reason_code, job

    def _check_orders(self, state: ChargerState) -> None:
        for order in outgoing.orders(state, self.facts, self.now):
            instruction = state.instructions[order.instruction_id]
            if instruction.job_id is None:
                assert isinstance(order.body, ListCertificates | ReadSettings | CallAction)
                continue
            job = state.jobs[instruction.job_id]
            assert job.stage != "held"
            if isinstance(order.body, DeleteCertificate):
                assert job.action == "delete"
                self._check_not_stranded(order.body.hash_data)
            if isinstance(order.body, InstallLeaf):
                assert job.stage == "installing"
                assert state.certificates[order.body.certificate_id].state == "issued"

    def _check_not_stranded(self, leaving: HashData) -> None:
        """No anchor of the bundle in force is on its way out, and some root stays."""
        anchors = self.facts.bundles["backend_server"].anchors
        assert leaving.folded() not in {one.folded() for a in anchors for one in a.hash_data}
        deleting = [
            i.body.hash_data
            for i in self.charger.instructions.values()
            if isinstance(i.body, DeleteCertificate)
        ]
        assert any(one.hash_data not in deleting for one in self.charger.reported)

    def _check_incidents(self, decision: Decision, state: ChargerState) -> None:
        """What refuses has refused all that it is about; what replaces first takes nothing that is in use."""
        going_on = [one for one in self.facts.incidents.values() if one.state != "ended"]
        assert not plan.is_behind(state, self.facts, self.now) or any(
            one.mode == "replace" for one in going_on
        )
        asked = {
            event.certificate_id
            for event in decision.events
            if isinstance(event, e.CertificateRevocationRequested) and event.comment.startswith("incident ")
        }
        if asked and not any(one.mode == "revoke" for one in going_on):
            in_use = {slot.current for slot in (self.before.slots if self.before else {}).values()}
            ended = e.CertificateSuperseded | e.CertificateDeactivated
            gone = {event.certificate_id for event in decision.events if isinstance(event, ended)}
            assert not asked & in_use - gone, "revoked before another took its place"

    def _check_not_locked_out(self, state: ChargerState) -> None:
        """A leaf the charger said it took is admitted until another took its place, or somebody ended it."""
        for certificate in state.certificates.values():
            if certificate.state == "rejected":
                assert certificate.installed_at is None
            if certificate.state == "superseded" and certificate.installed_at is not None:
                assert certificate.admit_until is not None or self._is_compromised(certificate)

    def _is_compromised(self, certificate: CertificateRecord) -> bool:
        return any(
            isinstance(event, e.CertificateRevocationRequested) and event.reason == "key_compromise"
            for event, _ in self.log
        )

    # ------------------------------------------------------------ at the end

    def check_replay(self) -> None:
        """The events as stored give exactly the state that was decided on."""
        state: ChargerState | None = None
        for event, now in self.log:
            read = msgspec.json.decode(e.payload_of(event), type=SCHEMA[e.name_of(event)])
            state = evolve(state, read, now)
        assert state is not None
        secret_free = tuple(replace(key, verifier="***") for key in self.charger.keys)
        assert state == replace(self.charger, keys=secret_free)
        encoded = msgspec.json.encode(self.charger)
        assert msgspec.json.decode(encoded, type=ChargerState) == self.charger


def _texts(decision: Decision) -> list[str]:
    return [e.name_of(event) + e.payload_of(event) for event in decision.events]


def _key() -> Any:
    from bfactors.admission import KeyVerifier

    return KeyVerifier(generation=1, pepper_id="p", verifier=VERIFIER, state="active")


def requested(action: str, job_id: str, **fields: Any) -> c.RequestJob:
    """A job command with what every one needs."""
    return c.RequestJob(
        job_id=job_id,
        charger_id="CP-1",
        purpose="charging_station",
        action=action,
        reason="test",
        **fields,
    )


def chain_for(effect: IssueCertificate) -> str:
    """What a CA makes of an issue effect."""
    return pki.ca().sign(effect.csr_pem, effect.not_before, effect.not_after)
