"""One charger's decisions with the clock in the test's hand: given events, when a message, then events."""

from datetime import datetime, timedelta
from itertools import count

from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger import outgoing
from bfactors.charger.decide import ChargerCommand, Decision, decide_command, decide_evidence
from bfactors.charger.draft import Context
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.effect import IssueCertificate
from bfactors.fleet import decide as fleet
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.instruction import InstructionKind, ListCertificates, ReadSettings, Reboot, is_repeatable
from bfactors.ocpp import Answered, Outcome
from bfactors.x509 import fingerprint_sha256, split_chain
from tests.core import pki

ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/1"


NEXT_ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/2"
CA_NAMES = {ARN: "Fleet", NEXT_ARN: "Next"}


def fleet_facts(*commands: fleet.FleetCommand) -> FleetFacts:
    """Facts of a fleet with an issuing CA, a bundle and one gateway that verifies it, then `commands`."""
    state = FleetState()
    first: tuple[fleet.FleetCommand, ...] = (
        c.RegisterAuthority(
            purpose="charging_station",
            authority_arn=ARN,
            certificate_pem=pki.ca().pem,
            chain_pem="",
            signing_algorithm="SHA256WITHECDSA",
        ),
        c.CreateTrustAnchorBundle(
            bundle_id="bundle-1",
            purpose="backend_server",
            anchors_pem=(pki.ca().root_pem, pki.ca("Server").root_pem),
        ),
    )
    for command in (*first, *commands):
        decided = fleet.decide_command(state, command, "operator:test", pki.BEGIN)
        assert decided.refusal is None, decided.refusal
        state = decided.state
    trust = v.NodeTrustReported(
        node="n1", incarnation="i1", fingerprints=(fingerprint_sha256(split_chain(pki.ca().pem)[0]),)
    )
    return fleet.decide_evidence(state, evidence("", trust), pki.BEGIN).state.facts


_NUMBERS = count()
"""Every piece of evidence is another fact, also one that says the same."""


def evidence(charger_id: str, body: v.EvidenceBody, at: datetime = pki.BEGIN) -> v.Evidence:
    return v.Evidence(
        evidence_id=v.evidence_id(str(next(_NUMBERS)), at.isoformat()),
        charger_id=charger_id,
        source="test",
        observed_at=at,
        body=body,
    )


class World:
    """One charger under decision."""

    def __init__(self, facts: FleetFacts | None = None, **registration: object) -> None:
        self.facts = facts if facts is not None else fleet_facts()
        self.now = pki.BEGIN + timedelta(days=10)
        self.state: ChargerState | None = None
        self.events: list[object] = []
        self.jobs: dict[str, JobState] = {}
        self.key_owners: dict[str, str] = {}
        self.sessions = 0
        self.actor = "test"
        self.tells_settings = False
        self.crl_address: str | None = None
        """What the CA's certificates name, if anything."""
        values: dict[str, object] = {
            "charger_id": "CP-1",
            "managed_identity_id": "unit-1",
            "serial_number": "SN-1",
            "family": "acme-one",
            "site": "north",
            "cohort": "canary",
            "security_profile": 2,
            "target_security_profile": 3,
            "organization": "Depot",
            **registration,
        }
        self.command(c.RegisterCharger(**values))  # type: ignore[arg-type]

    @property
    def charger(self) -> ChargerState:
        assert self.state is not None
        return self.state

    def context(self) -> Context:
        return Context(
            now=self.now,
            cause=f"m{len(self.events)}",
            actor=self.actor,
            facts=self.facts,
            ocpp_url="wss://csms.example:9443/ocpp",
            key_owners=self.key_owners,
        )

    def _take(self, decision: Decision) -> Decision:
        self.state = decision.state
        self.events += decision.events
        self.jobs.update(decision.jobs)
        return decision

    def command(self, command: ChargerCommand) -> Decision:
        return self._take(decide_command(self.state, command, self.context()))

    def tell(self, body: v.EvidenceBody) -> Decision:
        return self._take(decide_evidence(self.state, evidence("CP-1", body, self.now), self.context()))

    def wait(self, **duration: float) -> Decision:
        """Let time pass and the clock ring."""
        self.now += timedelta(**duration)
        decision = self.tell(v.DeadlinePassed(at=self.now))
        if not self.tells_settings:
            self._tell_no_settings()
        return decision

    def _tell_no_settings(self) -> None:
        """Asked for its settings beside its inventory, the charger has none of them."""
        for order in outgoing.orders(self.charger, self.facts, self.now):
            if isinstance(order.body, ReadSettings) and self._is_for_no_job(order.instruction_id):
                self.tell(
                    v.InstructionAnswered(
                        instruction_id=order.instruction_id,
                        decision=order.decision,
                        session_id=order.session_id,
                        outcome=Answered("Accepted"),
                    )
                )

    def _is_for_no_job(self, instruction_id: str) -> bool:
        return self.charger.instructions[instruction_id].job_id is None

    def wait_for_order(self) -> None:
        """Let time pass until the back-off of the next order is over."""
        times = [i.not_before for i in self.charger.instructions.values() if i.sent_session is None]
        if times and min(times) > self.now:
            self.wait(seconds=(min(times) - self.now).total_seconds())

    # ------------------------------------------------------------ steps of the way

    def request(self, action: str = "issue", **fields: object) -> Decision:
        values: dict[str, object] = {
            "job_id": f"job-{len(self.events)}",
            "charger_id": "CP-1",
            "purpose": "charging_station",
            "action": action,
            "reason": "test",
            **fields,
        }
        return self.command(c.RequestJob(**values))  # type: ignore[arg-type]

    def connect(
        self,
        profile: int = 2,
        fingerprint: str | None = None,
        version: str = "2.0.1",
        key: int | None = None,
    ) -> str:
        self.sessions += 1
        session_id = f"s{self.sessions}"
        self.tell(
            v.SessionOpened(
                session_id=session_id,
                node="n1",
                incarnation="i1",
                ocpp_version=version,
                security_profile=profile,
                remote_address="192.0.2.1",
                opened_at=self.now,
                fingerprint_sha256=fingerprint,
                key_generation=key,
            )
        )
        return session_id

    def lose_session(self) -> None:
        """The charger is gone."""
        assert self.charger.session is not None
        self.tell(v.SessionClosed(session_id=self.charger.session.session_id, reason="gone"))

    def orders(self) -> list[InstructionKind]:
        return [order.body for order in outgoing.orders(self.charger, self.facts, self.now)]

    def carry_out(
        self, outcome: Outcome | None = None, listed: tuple[ReportedCertificate, ...] = ()
    ) -> InstructionKind:
        """Send the first order and answer it (Accepted unless said otherwise)."""
        order = outgoing.orders(self.charger, self.facts, self.now)[0]
        key = {
            "instruction_id": order.instruction_id,
            "decision": order.decision,
            "session_id": order.session_id,
        }
        if not is_repeatable(order.body):
            self.tell(v.InstructionSent(**key))  # type: ignore[arg-type]
        answer = outcome or Answered("Accepted", listed=listed)
        self.tell(v.InstructionAnswered(outcome=answer, **key))  # type: ignore[arg-type]
        return order.body

    def list_all_anchors(self) -> InstructionKind:
        bundle = self.facts.bundles["backend_server"]
        listed = tuple(ReportedCertificate("CSMSRootCertificate", a.hash_data[0]) for a in bundle.anchors)
        return self.carry_out(listed=listed)

    def list_on_its_own(self) -> None:
        """The charger is asked for its list for no job, and has every anchor."""
        self.wait(days=40)
        while not isinstance(self.orders()[0], ListCertificates):
            self.carry_out()
        self.list_all_anchors()

    def confirm_trust(self) -> None:
        for _ in self.facts.bundles["backend_server"].anchors:
            self.carry_out()
        self.list_all_anchors()

    def present_csr(self, text: str | None = None) -> Decision:
        assert self.charger.session is not None
        return self.tell(
            v.CsrReceived(
                session_id=self.charger.session.session_id,
                message_id="m",
                purpose="charging_station",
                csr=text or pki.csr("SN-1"),
            )
        )

    def issue_effect(self) -> IssueCertificate:
        (effect,) = [e for e in outgoing.effects(self.charger, self.facts) if isinstance(e, IssueCertificate)]
        return effect

    def ca_issues(self) -> CertificateRecord:
        effect = self.issue_effect()
        chain = pki.ca(CA_NAMES[effect.authority_arn]).sign(
            effect.csr_pem, effect.not_before, effect.not_after, self.crl_address
        )
        arn = f"{effect.authority_arn}/certificate/{effect.attempt}"
        self.tell(v.IssuanceRequested(job_id=effect.job_id, attempt=effect.attempt, external_ref=arn))
        self.tell(
            v.IssuanceCompleted(
                job_id=effect.job_id, attempt=effect.attempt, external_ref=arn, chain_pem=chain
            )
        )
        return self.charger.certificates[fingerprint_sha256(split_chain(chain)[0])[:32]]

    def to_installed(self) -> CertificateRecord:
        """From nothing to a leaf the charger has accepted."""
        self.request()
        self.connect()
        self.confirm_trust()
        self.carry_out()
        self.present_csr()
        certificate = self.ca_issues()
        self.carry_out()
        return self.charger.certificates[certificate.certificate_id]

    def to_reset(self) -> list[InstructionKind]:
        """Carry out every step of a migration up to its reset."""
        steps = [self.carry_out()]
        while not isinstance(steps[-1], Reboot):
            self.wait_for_order()
            steps.append(self.carry_out())
        return steps

    def to_active(self) -> CertificateRecord:
        """From nothing to a leaf seen live over profile 3."""
        certificate = self.to_installed()
        self.to_reset()
        self.connect(3, certificate.fingerprint_sha256)
        return self.charger.certificates[certificate.certificate_id]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events]
