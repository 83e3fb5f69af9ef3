"""A charger under any interleaving of commands, evidence, time and fleet facts keeps every promise at every step."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger import outgoing
from bfactors.charger.decide import ChargerCommand
from bfactors.effect import IssueCertificate, MintKey, ReconcileIssuance, RevokeCertificate, StartRenewal
from bfactors.fleet.state import FleetFacts, SupervisorPause
from bfactors.identity_rule import credential_problem
from bfactors.incident import Incident, Selector
from bfactors.instruction import (
    DeleteCertificate,
    InstallLeaf,
    InstructionOrder,
    ListCertificates,
    ReadSettings,
    WriteAuthorizationKey,
    is_repeatable,
)
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, ReadSetting, Silent
from bfactors.policy import PolicyOverride, PolicySet
from tests.core import pki
from tests.core.charger_model import Model, chain_for, requested
from tests.core.key_moves import TAKING, KeyMoves

INDEX = st.integers(0, 50)
OUTCOMES = st.sampled_from(
    [
        Answered("Accepted"),
        Answered("Accepted"),
        Answered("Accepted"),
        Answered("Rejected"),
        Answered("RebootRequired"),
        CallFailed("InternalError"),
        CallFailed("NotSupported"),
        Silent(),
        Disconnected(),
    ]
)
DURATIONS = st.sampled_from(
    [timedelta(seconds=3), timedelta(minutes=3), timedelta(hours=2), timedelta(days=9), timedelta(days=80)]
)
STRAY_CSR = pki.csr("SN-1")
POLICIES = st.sampled_from(
    [
        {},
        {"subject_match": "contains"},
        {"confirm_rung": "accepted"},
        {"superseded_grace_days": 30},
        {"reconnect_close_s": 60, "reconnect_reset_s": 60},
        {"reconnect_close_s": 0, "reconnect_reset_s": 2, "discarded_reconnects": 1},
        {"reconnect_close_s": 0, "discarded_reconnects": 0, "discarded_after_s": 60},
        {"key_doubt_days": 1},
        {"key_close_session_s": 0, "key_rotation_days": 60},
    ]
)


class ChargerMachine(KeyMoves):
    def __init__(self) -> None:
        super().__init__(Model())
        self.policy_version = 1
        self.csrs: list[str] = []
        self.spares: set[HashData] = set()

    @initialize(steps=st.sampled_from([0, 0, 4, 6, 8, 13, 16, 20]))
    def begin_somewhere_on_the_way(self, steps: int) -> None:
        if steps:
            self.ask_for_a_certificate("issue")
            self.behave_well(steps)

    @initialize(renews=st.booleans(), values=POLICIES)
    def begin_with_a_renewed_leaf_taken(self, renews: bool, values: dict[str, object]) -> None:
        """It runs after the other, or before: then the way is longer than a case would walk by chance."""
        self.change_the_policy(values)
        if not renews:
            return
        if not self.model.charger.jobs:
            self.ask_for_a_certificate("issue")
        self._until(lambda: self.model.charger.security_profile == 3)
        if not self.model.charger.jobs:
            self.ask_for_a_certificate("renew")
        self._until(lambda: any(j.stage == "awaiting-reconnect" for j in self.model.charger.jobs.values()))

    def _until(self, reached: Callable[[], bool]) -> None:
        for _ in range(40):
            if reached():
                return
            self._step_well(self.model)

    # ------------------------------------------------------------ operators

    def _command(self, command: ChargerCommand) -> None:
        self.model.command(command)

    @rule(action=st.sampled_from(["issue", "issue", "renew"]))
    def ask_for_a_certificate(self, action: str) -> None:
        self.jobs += 1
        self._command(requested(action, f"job-{self.jobs}"))

    @precondition(lambda self: self.model.ended)
    @rule(which=INDEX)
    def ask_again_under_the_id_of_a_job_that_ended(self, which: int) -> None:
        ended = sorted(self.model.ended)
        self._command(requested("issue", ended[which % len(ended)]))

    @precondition(lambda self: self.model.charger.certificates)
    @rule(which=INDEX, action=st.sampled_from(["revoke", "deactivate", "renew"]), compromised=st.booleans())
    def act_on_a_certificate(self, which: int, action: str, compromised: bool) -> None:
        self.jobs += 1
        ids = list(self.model.charger.certificates)
        certificate_id = ids[which % len(ids)]
        reason = "key_compromise" if compromised else "superseded"
        command = requested(
            action,
            f"job-{self.jobs}",
            certificate_id=certificate_id,
            revocation_reason=reason if action == "revoke" else None,
        )
        self._command(replace(command, purpose=self.model.charger.certificates[certificate_id].purpose))

    @precondition(lambda self: len(self.model.charger.jobs) > 0 and len(self.model.log) % 3 == 0)
    @rule()
    def cancel_a_job(self) -> None:
        job_id = next(iter(self.model.charger.jobs))
        self._command(c.CancelJob(charger_id="CP-1", job_id=job_id, reason="enough"))

    @rule(cohort=st.sampled_from(["canary", "rest"]))
    def move_it(self, cohort: str) -> None:
        self._command(c.ChangeCharger(charger_id="CP-1", cohort=cohort))

    @rule()
    def resume_it(self) -> None:
        self._command(c.ResumeCharger(charger_id="CP-1", reason="looked at"))

    # ------------------------------------------------------------ migrations

    @rule(profile=st.sampled_from([1, 2, 3, 3]))
    def order_a_migration(self, profile: int) -> None:
        self.jobs += 1
        self._command(
            c.OpenMigration(
                job_id=f"job-{self.jobs}",
                charger_id="CP-1",
                target_profile=profile,
                reason="test",
                ends_at=self.model.now + timedelta(days=20) if profile == 2 else None,
                approval_id=f"approval-{self.jobs}",
            )
        )

    @precondition(lambda self: self.model.charger.migration is not None)
    @rule(ends=st.booleans())
    def release_the_migration(self, ends: bool) -> None:
        self._command(c.ReleaseMigration(charger_id="CP-1", reason="looked at", ends=ends))

    @precondition(lambda self: self.model.charger.approvals)
    @rule(
        which=INDEX,
        verdict=st.sampled_from(["approve", "approve", "reject"]),
        by_author=st.booleans(),
        has_read=st.sampled_from([True, True, False]),
    )
    def decide_an_approval(self, which: int, verdict: Any, by_author: bool, has_read: bool) -> None:
        approvals = list(self.model.charger.approvals.values())
        approval = approvals[which % len(approvals)]
        was_open = approval.state == "open"
        counts = was_open and not by_author and has_read and verdict == "approve"
        self.model.approved_by_another |= counts
        self.model.actor = approval.author if by_author else "somebody else"
        self._command(
            c.DecideApproval(
                charger_id="CP-1",
                approval_id=approval.approval_id,
                verdict=verdict,
                content_hash=approval.content_hash if has_read else "0" * 64,
                reason="test",
            )
        )
        self.model.actor = "test"
        if not counts and was_open and verdict == "approve":
            assert self.model.charger.approvals[approval.approval_id].state != "approved"

    @precondition(lambda self: self.model.has_used_profile_3)
    @rule(goes=st.booleans())
    def agree_on_a_way_back(self, goes: bool) -> None:
        """Seldom reached by chance: asked for, approved, its key made, and the charger perhaps gone back."""
        self.order_a_migration(2)
        asked = [one for one in self.model.charger.approvals.values() if one.state == "open"]
        if not asked:
            return
        self.decide_an_approval(len(self.model.charger.approvals) - 1, "approve", False, True)
        if any(x.generation not in {k.generation for k in self.model.charger.keys} for x in self._mints()):
            self.mint_a_key(len(self._mints()) - 1, True, goes)
        ways = [way for way in self._admissible() if way[0] == 2]
        if goes and ways:
            self.model.connect(2, key=int(ways[-1][1] or 0))

    def _mints(self) -> list[MintKey]:
        return [x for x in self.model.effects.values() if isinstance(x, MintKey)]

    # ------------------------------------------------------------ sessions

    def _admissible(self) -> list[tuple[int, str | int | None]]:
        """Profiles with what the charger would show for them: a certificate's fingerprint, a key's generation."""
        record = outgoing.admission(self.model.charger)
        found: list[tuple[int, str | int | None]] = []
        if 2 in record.allowed_profiles:
            found += [(2, generation) for generation in self.keys_admitted()]
        if 3 in record.allowed_profiles:
            found += [
                (3, known.fingerprint_sha256)
                for known in record.credentials
                if credential_problem(known, self.model.now) is None and self._may_hold(known.certificate_id)
            ]
        return found

    def _may_hold(self, certificate_id: str) -> bool:
        """Only a leaf that was sent can be presented."""
        return any(
            isinstance(o.body, InstallLeaf) and o.body.certificate_id == certificate_id
            for o in self.model.sent
        )

    @rule(which=INDEX)
    def connect(self, which: int) -> None:
        ways = self._admissible()
        if ways:
            profile, shown = ways[which % len(ways)]
            if isinstance(shown, str):
                self.model.connect(profile, shown)
            else:
                self.model.connect(profile, key=shown)
            profile, shown = ways[which % len(ways)]
            if isinstance(shown, str):
                self.model.connect(profile, shown)
            else:
                self.model.connect(profile, key=shown)

    @precondition(lambda self: self.model.charger.security_profile == 3)
    @rule(times=st.integers(1, 4), says_so=st.booleans())
    def come_back_with_the_certificate_in_use(self, times: int, says_so: bool) -> None:
        """Whatever it was given: what it used is let in, and a leaf that it took is not held against it."""
        state = self.model.charger
        slot = state.slots.get("charging_station/default")
        current = slot.current if slot is not None else None
        if current is None:
            return
        old = state.certificates[current]
        if (3, old.fingerprint_sha256) not in self._admissible():
            return
        for _ in range(times):
            self.model.connect(3, old.fingerprint_sha256)
        session = self.model.charger.session
        assert session is not None
        if says_so:
            self.model.tell(
                v.SecurityEventReported(
                    session_id=session.session_id,
                    event_type="DiscardedRenewedClientCertificate",
                    charger_time="then",
                )
            )
        assert self.model.charger.certificates[current].state == "active"

    @precondition(lambda self: self.model.charger.session is not None)
    @rule(then_waits=st.booleans())
    def an_operator_resets_it(self, then_waits: bool) -> None:
        self.jobs += 1
        payload = '{"type":"OnIdle"}'
        call = c.CallCharger(call_id=f"call-{self.jobs}", charger_id="CP-1", action="Reset", payload=payload)
        self.model.command(call)
        for _ in range(3):
            self.carry_out_an_order(Answered("Accepted"), True)
        if then_waits:
            self.it_stays_where_it_is(16)
            self.carry_out_an_order(Answered("Accepted"), True)

    @precondition(lambda self: self.model.charger.jobs)
    @rule(minutes=st.sampled_from([1, 11, 16, 60 * 25]))
    def it_stays_where_it_is(self, minutes: int) -> None:
        """Silence: no call is made, no session opens."""
        self.model.advance(timedelta(minutes=minutes))

    @precondition(lambda self: self.model.charger.session is not None)
    @rule(restated=st.booleans(), lost=st.booleans())
    def lose_the_session(self, restated: bool, lost: bool) -> None:
        session = self.model.charger.session
        assert session is not None
        if not lost:
            self.model.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
            return
        self.model.tell(v.NodeLost(node=session.node, incarnation=session.incarnation))
        if restated:
            self.model.tell(self._opening_of(session.session_id))

    def _opening_of(self, session_id: str) -> v.SessionOpened:
        return next(
            body
            for body in self.model.told
            if isinstance(body, v.SessionOpened) and body.session_id == session_id
        )

    # ------------------------------------------------------------ exchanges

    @rule(outcome=OUTCOMES, lists=st.booleans(), taking=TAKING)
    def carry_out_an_order(self, outcome: Outcome, lists: bool, taking: str = "forgets") -> None:
        orders = self.orders()
        if not orders:
            return
        order = orders[0]
        if isinstance(order.body, WriteAuthorizationKey):
            self.tell_a_key(order, order.body.generation, outcome, taking)
            return
        self.model.sent.append(order)
        self.model.note_reset(order, outcome)
        self.take_a_leaf(order, outcome)
        key = (order.instruction_id, order.decision, order.session_id)
        if not is_repeatable(order.body):
            self.model.tell(v.InstructionSent(instruction_id=key[0], decision=key[1], session_id=key[2]))
        if lists and isinstance(order.body, ReadSettings):
            outcome = Answered("Accepted", settings=(ReadSetting("network-priority", "2,1"),))
        if lists and isinstance(order.body, ListCertificates):
            outcome = Answered("Accepted", listed=self._all_it_holds())
        if isinstance(order.body, DeleteCertificate) and isinstance(outcome, Answered):
            self.spares.discard(order.body.hash_data)
        self.model.tell(
            v.InstructionAnswered(instruction_id=key[0], decision=key[1], session_id=key[2], outcome=outcome)
        )

    def take_a_leaf(self, order: InstructionOrder, outcome: Outcome) -> None:
        """What else a charger does with a leaf than to show it when it connects."""

    def _all_it_holds(self) -> tuple[ReportedCertificate, ...]:
        ours = [anchor.hash_data[0] for anchor in self.model.facts.bundles["backend_server"].anchors]
        spares = sorted(self.spares, key=lambda one: one.serial_number)
        return tuple(ReportedCertificate("CSMSRootCertificate", one) for one in (*ours, *spares))

    @rule(serial=st.sampled_from(["0a", "0b", "0c"]))
    def somebody_else_installs_a_root(self, serial: str) -> None:
        self.spares.add(HashData("SHA256", "ab" * 32, "cd" * 32, serial))

    @precondition(lambda self: self.model.charger.reported)
    @rule(which=INDEX)
    def delete_something_listed(self, which: int) -> None:
        self.jobs += 1
        reported = self.model.charger.reported
        ref = reported[which % len(reported)].hash_data
        self._command(requested("delete", f"job-{self.jobs}", reported_ref=ref))

    @rule(alone=st.booleans())
    def install_the_anchors(self, alone: bool) -> None:
        self.jobs += 1
        anchor = self.model.facts.bundles["backend_server"].anchors[0].fingerprint_sha256
        command = requested(
            "install-anchor", f"job-{self.jobs}", fingerprint_sha256=anchor if alone else None
        )
        self._command(replace(command, purpose="backend_server"))

    @precondition(lambda self: self.model.sent)
    @rule(which=INDEX, outcome=OUTCOMES)
    def answer_late_or_twice(self, which: int, outcome: Outcome) -> None:
        order = self.model.sent[which % len(self.model.sent)]
        if self.would_lie(order, outcome):
            return
        self.model.tell(
            v.InstructionAnswered(
                instruction_id=order.instruction_id,
                decision=order.decision,
                session_id=order.session_id,
                outcome=outcome,
            )
        )

    @rule(steps=st.integers(1, 12))
    def behave_well(self, steps: int) -> None:
        """Everything goes as it should for a while: else long ways are never walked."""
        model = self.model
        for _ in range(steps):
            self._step_well(model)

    def _step_well(self, model: Model) -> None:
        if model.charger.session is None:
            self.connect(1)
        elif outgoing.orders(model.charger, model.facts, model.now):
            self.carry_out_an_order(Answered("Accepted"), True)
        elif any(isinstance(x, MintKey) for x in outgoing.effects(model.charger, model.facts)):
            self.mint_a_key(-1, True)
        elif any(job.stage == "awaiting-csr" for job in model.charger.jobs.values()):
            self.answer_the_trigger()
        elif any(isinstance(x, IssueCertificate) for x in outgoing.effects(model.charger, model.facts)):
            self.make_a_certificate(-1, True)
        elif any(job.stage == "awaiting-reconnect" for job in model.charger.jobs.values()):
            self.connect(len(self._admissible()) - 1)
        elif not model.charger.jobs:
            model.advance(timedelta(days=30))
            if outgoing.effects(model.charger, model.facts):
                self.renew_what_is_due()
        else:
            model.advance(timedelta(minutes=10))

    def answer_the_trigger(self) -> None:
        self.present_a_csr(pki.csr("SN-1"))

    def renew_what_is_due(self) -> None:
        """What the renewal actor makes of the effect."""
        for effect in outgoing.effects(self.model.charger, self.model.facts):
            if isinstance(effect, StartRenewal):
                command = requested(
                    "renew",
                    effect.job_id,
                    certificate_id=effect.certificate_id,
                    due_reason=effect.due_reason,
                )
                self._command(replace(command, purpose=effect.purpose))
                assert effect.job_id in self.model.charger.jobs

    @precondition(lambda self: self.model.charger.session is not None)
    @rule(kind=st.sampled_from(["new", "again", "malformed", "foreign"]), which=INDEX)
    def present_some_csr(self, kind: str, which: int) -> None:
        if kind == "again" and self.csrs:
            self.present_a_csr(self.csrs[which % len(self.csrs)])
        elif kind == "malformed":
            self.present_a_csr("nonsense")
        else:
            self.present_a_csr(pki.csr("SN-9" if kind == "foreign" else "SN-1"))

    def present_a_csr(self, text: str) -> None:
        self.csrs.append(text)
        self.model.present_csr(text)

    @rule(serial=st.sampled_from(["SN-1", "SN-2"]), firmware=st.sampled_from(["1", "2"]))
    def boot(self, serial: str, firmware: str) -> None:
        self.model.tell(
            v.BootReported(
                session_id="s",
                vendor="acme",
                model="one",
                serial_number=serial,
                firmware_version=firmware,
                reason="PowerUp",
            )
        )

    # ------------------------------------------------------------ logs and reports

    @rule(log=st.sampled_from(["security", "diagnostics"]))
    def ask_for_a_log(self, log: str) -> None:
        self.jobs += 1
        self._command(
            c.RequestLog(
                job_id=f"job-{self.jobs}",
                log_id=f"log-{self.jobs}",
                charger_id=self.model.charger.charger_id,
                log="security" if log == "security" else "diagnostics",
                reason="test",
                secret_id=f"secret-{self.jobs}",
                ticket_hash=f"{self.jobs:064x}",
                credential_hash="cd" * 32,
                max_bytes=1000,
                expires_at=self.model.now + timedelta(days=1),
            )
        )

    @rule(
        status=st.sampled_from(["Idle", "Uploading", "Uploaded", "UploadFailure", "AcceptedCanceled"]),
        request_id=st.sampled_from([None, 7, 1001, 1002]),
    )
    def say_how_an_upload_goes(self, status: str, request_id: int | None) -> None:
        self.model.tell(v.LogStatusReported(session_id="s", status=status, request_id=request_id))

    @precondition(lambda self: self.model.charger.logs)
    @rule(which=INDEX)
    def upload_a_log(self, which: int) -> None:
        logs = self.model.charger.logs
        log = logs[which % len(logs)]
        self.model.tell(
            v.LogUploaded(
                request_id=log.request_id,
                sha256="ef" * 32,
                size_bytes=1,
                stored_name=f"stored-{log.log_id}",
                file_name=None,
                remote_address="192.0.2.1",
            )
        )
        assert log.job_id not in self.model.charger.jobs
        assert all(i.job_id != log.job_id for i in self.model.charger.instructions.values())

    @rule(
        kind=st.sampled_from(
            [
                "InvalidChargingStationCertificate",
                "InvalidCsmsCertificate",
                "DiscardedRenewedClientCertificate",
                "X",
            ]
        ),
        count=st.sampled_from([1, 500]),
    )
    def report_a_security_event(self, kind: str, count: int) -> None:
        stages = {job_id: job.stage for job_id, job in self.model.charger.jobs.items()}
        body = v.SecurityEventReported(session_id="s", event_type=kind, charger_time="then", count=count)
        self.model.tell(body)
        if kind != "DiscardedRenewedClientCertificate":
            assert stages == {job_id: job.stage for job_id, job in self.model.charger.jobs.items()}

    # ------------------------------------------------------------ CAs

    def _issue_effects(self) -> list[IssueCertificate]:
        return [x for x in self.model.effects.values() if isinstance(x, IssueCertificate)]

    @precondition(lambda self: any(isinstance(x, IssueCertificate) for x in self.model.effects.values()))
    @rule(which=INDEX, fine=st.booleans())
    def make_a_certificate(self, which: int, fine: bool) -> None:
        effects = self._issue_effects()
        effect = effects[which % len(effects)]
        arn = f"{effect.authority_arn}/certificate/{effect.effect_id}"
        self.model.tell(v.IssuanceRequested(job_id=effect.job_id, attempt=effect.attempt, external_ref=arn))
        self.model.tell(
            v.IssuanceCompleted(
                job_id=effect.job_id,
                attempt=effect.attempt,
                external_ref=arn,
                chain_pem=chain_for(effect),
                findings=() if fine else ("leaf-is-ca: it may sign",),
            )
        )

    @precondition(lambda self: any(isinstance(x, IssueCertificate) for x in self.model.effects.values()))
    @rule(which=INDEX, kind=st.sampled_from(["lapsed", "doubt", "refused", "delayed"]))
    def fail_to_make_one(self, which: int, kind: str) -> None:
        effects = self._issue_effects()
        effect = effects[which % len(effects)]
        about = {"job_id": effect.job_id, "attempt": effect.attempt}
        match kind:
            case "refused":
                body: v.EvidenceBody = v.IssuanceRefused(**about, code="MalformedCSRException", message="no")
            case "delayed":
                body = v.IssuanceDelayed(**about, code="Throttling", message="later")
            case _:
                body = v.IssuanceAttemptLapsed(**about, in_doubt=kind == "doubt")
        self.model.tell(body)

    @precondition(lambda self: any(isinstance(x, ReconcileIssuance) for x in self.model.effects.values()))
    @rule(which=INDEX, outcome=st.sampled_from(["found", "absent", "unknown", "answered"]))
    def search_at_the_ca(self, which: int, outcome: str) -> None:
        effects = [x for x in self.model.effects.values() if isinstance(x, ReconcileIssuance)]
        effect = effects[which % len(effects)]
        about = {"job_id": effect.job_id, "attempt": effect.attempt}
        arn = f"{effect.authority_arn}/certificate/{effect.job_id}:{effect.attempt}"
        match outcome:
            case "unknown":
                body: v.EvidenceBody = v.IssuanceUnreconciled(**about, code="AccessDenied", message="no")
            case "answered":
                body = v.IssuanceRequested(**about, external_ref=arn)
            case _:
                body = v.IssuanceReconciled(
                    **about,
                    external_ref=arn if outcome == "found" else None,
                    report_ref="report",
                    report_at=self.model.now,
                )
        self.model.tell(body)

    @rule(which=INDEX, revoked=st.booleans(), known=st.sampled_from([None, "revoked", "active"]))
    def hear_what_the_ca_has(self, which: int, revoked: bool, known: str | None) -> None:
        """Of one of its own, or of one that was signed for a key of its and never came here."""
        certificates = self.model.charger.certificates.values()
        chains = [each.chain_pem for each in certificates if each.purpose == "charging_station"]
        begin = self.model.now.replace(microsecond=0) - timedelta(hours=1)
        chains.append(pki.ca().sign(STRAY_CSR, begin, begin + timedelta(days=90)))
        authority = self.model.facts.authorities["charging_station"]
        self.model.tell(
            v.CertificateSeenAtCa(
                purpose="charging_station",
                authority_arn=authority.arn,
                external_ref=f"{authority.arn}/certificate/seen",
                chain_pem=chains[which % len(chains)],
                issued_at=self.model.now - timedelta(hours=1),
                revoked_at=self.model.now - timedelta(minutes=30) if revoked else None,
                revocation_reason="superseded" if revoked else None,
                report_ref=f"report-{self.model.now:%H%M%S}",
                report_at=self.model.now,
                ledger_state=known,
            )
        )

    @precondition(lambda self: any(isinstance(x, RevokeCertificate) for x in self.model.effects.values()))
    @rule(which=INDEX, accepted=st.booleans())
    def answer_a_revocation(self, which: int, accepted: bool) -> None:
        effects = [x for x in self.model.effects.values() if isinstance(x, RevokeCertificate)]
        certificate_id = effects[which % len(effects)].certificate_id
        self.model.tell(
            v.RevocationAccepted(certificate_id=certificate_id)
            if accepted
            else v.RevocationRefused(certificate_id=certificate_id, code="AccessDenied", message="no")
        )

    # ------------------------------------------------------------ time and the fleet

    @rule(duration=DURATIONS)
    def time_passes(self, duration: timedelta) -> None:
        self.model.advance(duration)

    def _facts(self, facts: FleetFacts) -> None:
        self.model.facts = facts
        self.model.ring()
        self.model.tell(v.DeadlinePassed(at=self.model.now))

    @rule(key=st.sampled_from(["family/acme-one", "cohort/canary", "purpose/charging_station"]))
    def pause_or_resume(self, key: str) -> None:
        pauses = dict(self.model.facts.pauses)
        if pauses.pop(key, None) is None:
            kind, _, name = key.partition("/")
            pauses[key] = SupervisorPause(
                kind=kind, name=name, state="paused", reason="recall", by="x", at=self.model.now
            )
        self._facts(replace(self.model.facts, pauses=pauses))

    @rule(values=POLICIES)
    def change_the_policy(self, values: dict[str, object]) -> None:
        self.policy_version += 1
        override = PolicyOverride(scope="purpose:charging_station", values=values)
        policies = PolicySet(version=self.policy_version, overrides=(override,) if values else ())
        self._facts(replace(self.model.facts, policies=policies))

    @rule()
    def change_the_authority(self) -> None:
        authorities = self.model.facts.authorities
        authority = authorities["charging_station"]
        other = replace(authority, arn=authority.arn[:-1] + ("2" if authority.arn.endswith("1") else "1"))
        self._facts(replace(self.model.facts, authorities={**authorities, "charging_station": other}))

    @rule(
        mode=st.sampled_from(["revoke", "replace"]),
        percent=st.sampled_from([1, 100]),
        then=st.sampled_from(["advances", "is-paused", "ends", "is-lifted"]),
    )
    def an_incident(self, mode: Any, percent: int, then: str) -> None:
        """Opened about everything its CAs signed, or, while one goes on, moved to where it goes next."""
        incidents = self.model.facts.incidents
        present = next((one for one in incidents.values() if one.state != "ended"), None)
        if present is None:
            present = Incident(
                incident_id=f"incident-{len(incidents)}",
                name="i",
                reason="r",
                mode=mode,
                revocation_reason="superseded",
                selector=Selector(purpose="charging_station", families=("acme-one",)),
                percent=percent,
                expected=0,
                author="a",
                approver="b",
                opened_at=self.model.now,
            )
        elif then == "advances":
            present = replace(present, percent=100, state="running")
        elif then == "is-paused":
            present = replace(present, state="paused")
        else:
            present = replace(present, state="ended", ended_at=self.model.now, is_lifted=then == "is-lifted")
        self._facts(replace(self.model.facts, incidents={**incidents, present.incident_id: present}))

    @rule()
    def change_the_bundle(self) -> None:
        bundles = self.model.facts.bundles
        bundle = bundles["backend_server"]
        anchors = tuple(reversed(bundle.anchors)) if len(bundle.anchors) < 2 else bundle.anchors[:1]
        newer = replace(bundle, bundle_id=f"{bundle.bundle_id}+", version=bundle.version + 1, anchors=anchors)
        self._facts(replace(self.model.facts, bundles={**bundles, "backend_server": newer}))

    @precondition(lambda self: len(self.model.log) % 7 == 0)
    @rule()
    def quarantine_something(self) -> None:
        from bfactors import event as e
        from bfactors.charger.evolve import evolve

        event = e.EvidenceQuarantined(charger_id="CP-1", evidence_id="q", error="odd")
        self.model.state = evolve(self.model.charger, event, self.model.now)
        self.model.log.append((event, self.model.now))
        self.model.tell(v.DeadlinePassed(at=self.model.now))

    def teardown(self) -> None:
        self.model.check_replay()


pytestmark = pytest.mark.timeout(400)
"""Twenty seconds of work; a machine that is shared may take its time over them."""

TestChargerMachine = ChargerMachine.TestCase
TestChargerMachine.settings = settings(
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
