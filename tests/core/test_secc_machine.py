"""The charger machine with an SECC beside the charger's own identity: no interleaving of the two harms either."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger import part_place
from bfactors.charger.decide import Decision, decide_part
from bfactors.charger.part import Part
from bfactors.charger.state import CertificateRecord, ChargerState, JobState
from bfactors.instruction import InstallLeaf, InstructionOrder, ObtainCsr
from bfactors.ocpp import Answered, Disconnected, Outcome, Silent
from bfactors.purpose import purpose
from bfactors.x509 import hash_data, parse_certificates
from tests.core import pki
from tests.core.charger_model import Model, requested
from tests.core.test_charger_machine import ChargerMachine
from tests.core.test_secc import CHAIN, LEFT, RIGHT, ROOT, SECC, v2g_facts

INDEX = st.integers(0, 50)


class SeccModel(Model):
    """What must hold of SECCs' certificates too."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = v2g_facts()
        self.listed_leaves: set[HashData] = set()

    def tell(self, body: v.EvidenceBody) -> Decision:
        if isinstance(body, v.InstructionAnswered) and isinstance(body.outcome, Answered):
            self.listed_leaves |= {one.hash_data for one in body.outcome.listed if one.use == CHAIN}
        return super().tell(body)

    def place(self, part: Part) -> None:
        self.before = self.state
        self._folded(self._take(decide_part(self.charger, part, self.context())))

    def check(self, decision: Decision) -> None:
        super().check(decision)
        for certificate in self.charger.certificates.values():
            self._check_part(self.charger, certificate)
        for instruction in self.charger.instructions.values():
            self._check_told(self.charger, instruction.job_id, instruction.body)

    def has_proof_of_use(self, certificate: CertificateRecord) -> bool:
        if not certificate.part:
            return super().has_proof_of_use(certificate)
        return named(certificate.chain_pem) in self.listed_leaves

    def _check_part(self, state: ChargerState, certificate: CertificateRecord) -> None:
        """A leaf is in a slot of its own realm and identity, and no key is in two."""
        is_v2g = purpose(certificate.purpose).realm == "iso15118"
        assert bool(certificate.part) is is_v2g
        for key, slot in state.slots.items():
            if certificate.certificate_id in (slot.current, slot.next):
                assert key == place_of(certificate)
        if is_v2g:
            expected = state.parts[certificate.part].named("secc_id")
            assert expected is not None
            assert expected in certificate.subject
        others = [
            each
            for each in state.certificates.values()
            if each.spki_sha256 == certificate.spki_sha256 and place_of(each) != place_of(certificate)
        ]
        assert not others, "one key in two slots"

    def _check_told(self, state: ChargerState, job_id: str | None, body: object) -> None:
        job = state.jobs.get(job_id or "")
        if job is None:
            return
        if isinstance(body, ObtainCsr):
            assert (body.purpose, body.evse) == (job.purpose, part_place.evse_of(state, job.part))
        if isinstance(body, InstallLeaf):
            assert place_of(state.certificates[body.certificate_id]) == place_of(job)


def place_of(about: CertificateRecord | JobState) -> str:
    """Its slot by the machine's own account."""
    parts = (about.purpose, about.variant, about.part)
    return "/".join(part for part in parts if part)


def named(chain_pem: str) -> HashData:
    leaf, issuer = parse_certificates(chain_pem)[:2]
    return hash_data(leaf, issuer)


class SeccMachine(ChargerMachine):
    """The moves of two SECCs between all others."""

    def __init__(self) -> None:
        super().__init__()
        self.model: SeccModel = SeccModel()
        self.may_switch_until = self.model.now
        self.v2g_leaves: dict[str, str] = {}
        """Chains that it took, by SECC: the newest each."""
        self.v2g_csrs: list[str] = []
        self.keys: list[ec.EllipticCurvePrivateKey] = []

    @initialize(
        parts=st.sampled_from([(LEFT,), (LEFT, RIGHT), (LEFT, RIGHT)]), way=st.sampled_from([0, 12, -1, -1])
    )
    def begin_with_seccs(self, parts: tuple[Part, ...], way: int) -> None:
        """On their way, or in use (-1): that is too far to be walked by chance."""
        for number, part in enumerate(parts):
            self.model.place(part)
            if way:
                self.ask_for_a_v2g_certificate(number, "issue")
            if way < 0:
                self._until(lambda: not any(job.part for job in self.model.charger.jobs.values()))
        if way > 0:
            self.behave_well(way)

    @rule(which=INDEX)
    def renew_one_whose_time_has_not_come(self, which: int) -> None:
        self.ask_for_a_v2g_certificate(which, "renew")
        self.behave_well(12)

    @rule(which=INDEX, action=st.sampled_from(["issue", "renew"]))
    def ask_for_a_v2g_certificate(self, which: int, action: str) -> None:
        parts = list(self.model.charger.parts)
        if not parts:
            return
        self.jobs += 1
        command = requested(action, f"job-{self.jobs}", managed_identity_id=parts[which % len(parts)])
        self.model.command(replace(command, purpose=SECC))

    @precondition(lambda self: self.model.charger.session is not None)
    @rule(kind=st.sampled_from(["new", "new", "again", "foreign", "used-key", "stations-text"]), which=INDEX)
    def present_some_v2g_csr(self, kind: str, which: int) -> None:
        names = [part.named("secc_id") or "" for part in self.model.charger.parts.values()]
        if kind == "used-key" and self.keys and names:
            key = self.keys[which % len(self.keys)]
            self._present_v2g(pki.csr(names[which % len(names)], key=key, domain_component="CPO"))
        elif kind == "stations-text" and self.csrs:
            self._present_v2g(self.csrs[which % len(self.csrs)])
        elif kind == "again" and self.v2g_csrs:
            self._present_v2g(self.v2g_csrs[which % len(self.v2g_csrs)])
        elif kind == "foreign":
            self._present_v2g(pki.csr("DEABCS00000009"))
        elif names:
            self._present_v2g(self._new_csr(names[which % len(names)]))

    @precondition(lambda self: self.model.charger.session is not None and self.v2g_csrs)
    @rule(which=INDEX)
    def present_an_seccs_request_as_its_own(self, which: int) -> None:
        """Its text, or its key under the charger's own name."""
        self.present_a_csr(self.v2g_csrs[which % len(self.v2g_csrs)])
        if self.keys and self.model.charger.session is not None:
            self.present_a_csr(pki.csr("SN-1", key=self.keys[which % len(self.keys)]))

    def _new_csr(self, common_name: str) -> str:
        self.keys.append(ec.generate_private_key(ec.SECP256R1()))
        return pki.csr(common_name, key=self.keys[-1], domain_component="CPO")

    def _present_v2g(self, text: str) -> None:
        session = self.model.charger.session
        assert session is not None
        self.v2g_csrs.append(text)
        self.model.tell(v.CsrReceived(session_id=session.session_id, message_id="m", purpose=SECC, csr=text))

    def answer_the_trigger(self) -> None:
        waiting = [job for job in self.model.charger.jobs.values() if job.stage == "awaiting-csr"]
        if waiting[0].part:
            self._present_v2g(self._new_csr(self.model.charger.parts[waiting[0].part].named("secc_id") or ""))
        else:
            super().answer_the_trigger()

    def take_a_leaf(self, order: InstructionOrder, outcome: Outcome) -> None:
        body = order.body
        if isinstance(body, InstallLeaf) and body.purpose == SECC:
            part = self.model.charger.certificates[body.certificate_id].part
            if outcome == Answered("Accepted") or isinstance(outcome, Silent | Disconnected):
                self.v2g_leaves[part] = body.chain_pem

    def _all_it_holds(self) -> tuple[ReportedCertificate, ...]:
        anchors = [anchor.hash_data[0] for anchor in self.model.facts.bundles[SECC].anchors]
        return (
            *super()._all_it_holds(),
            *(ReportedCertificate(ROOT, one) for one in anchors),
            *(ReportedCertificate(CHAIN, named(chain)) for chain in self.v2g_leaves.values()),
        )

    @rule(which=INDEX)
    def an_operator_has_it_list(self, which: int) -> None:
        self.jobs += 1
        action = "GetInstalledCertificateIds"
        call = c.CallCharger(call_id=f"call-{self.jobs}", charger_id="CP-1", action=action, payload="{}")
        self.model.command(call)


pytestmark = pytest.mark.timeout(400)

TestSeccMachine = SeccMachine.TestCase
TestSeccMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
