"""A charger's SECCs: certificates of their own, asked for over its session, active once it lists them."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger import outgoing, part_place
from bfactors.charger.decide import decide_part
from bfactors.charger.issuance import UNASSIGNED_CSR
from bfactors.charger.lockout import lockout
from bfactors.charger.part import Part
from bfactors.charger.project import certificate_body, charger_body, job_body
from bfactors.charger.state import CertificateRecord
from bfactors.effect import IssueCertificate, RevokeCertificate, StartRenewal
from bfactors.event.report import SecurityEventRecorded
from bfactors.fleet.state import FleetFacts
from bfactors.incident import Incident, Selector
from bfactors.instruction import DeleteCertificate, InstallAnchor, InstallLeaf, ListCertificates, ObtainCsr
from bfactors.ocpp import Answered, CallFailed, Disconnected
from bfactors.policy import PolicyOverride, PolicySet
from bfactors.purpose import purpose
from bfactors.refusal import Refusal
from bfactors.x509 import hash_data, parse_certificates, parse_csr
from tests.core import pki
from tests.core.world import World, fleet_facts

SECC, LATER = "secc_iso15118_2", "secc_iso15118_20"
ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/v2g"
ROOT, CHAIN = "V2GRootCertificate", "V2GCertificateChain"
ONE = Part(identity_id="evse-1", kind="evse", names=("secc_id:DEABCS00000001",))
LEFT = Part(identity_id="evse-1", kind="evse", names=("secc_id:DEABCS00000001",), evses=(1, 2))
RIGHT = Part(identity_id="evse-2", kind="evse", names=("secc_id:DEABCS00000002",), evses=(3,))


def v2g_facts(*commands: Any, name: str = SECC) -> FleetFacts:
    """With a V2G CA for one purpose and its root as the purpose's bundle."""
    v2g = pki.ca("V2G")
    authority = c.RegisterAuthority(
        purpose=name,
        authority_arn=ARN,
        certificate_pem=v2g.pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
        root_pem=v2g.root_pem,
    )
    bundle = c.CreateTrustAnchorBundle(bundle_id=f"v2g-{name}", purpose=name, anchors_pem=(v2g.root_pem,))
    return fleet_facts(authority, bundle, *commands)


class SeccWorld(World):
    """A charger on profile 2, whose own certificate nobody asked for; it keeps what V2G things it is given."""

    def __init__(self, *parts: Part, facts: FleetFacts | None = None, name: str = SECC) -> None:
        super().__init__(facts or v2g_facts(name=name), target_security_profile=2)
        self.name = name
        self.keys: list[ec.EllipticCurvePrivateKey] = []
        self.leaves: list[str] = []
        self.lists_leaves = True
        for part in parts:
            self.place(part)

    def place(self, part: Part) -> None:
        self._take(decide_part(self.charger, part, self.context()))

    def ask(self, action: str = "issue", **fields: Any) -> Refusal | str:
        decision = self.request(action, purpose=fields.pop("purpose", self.name), **fields)
        return decision.refusal or str(decision.job_id)

    def csr(
        self,
        common_name: str,
        name: str | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        domain_component: str | None = "CPO",
    ) -> str:
        """What its SECC of that name sends, and hears."""
        session = self.charger.session
        assert session is not None
        self.keys.append(key or ec.generate_private_key(ec.SECP256R1()))
        text = pki.csr(common_name, key=self.keys[-1], domain_component=domain_component)
        self.tell(
            v.CsrReceived(session_id=session.session_id, message_id="m", purpose=name or self.name, csr=text)
        )
        return text

    def everything(self) -> tuple[ReportedCertificate, ...]:
        """What it lists in its V2G stores."""
        anchors = [
            a.hash_data[0] for b in self.facts.bundles.values() if b.purpose == self.name for a in b.anchors
        ]
        leaves = self.leaves if self.lists_leaves else []
        return (
            *(ReportedCertificate(ROOT, data) for data in anchors),
            *(ReportedCertificate(CHAIN, self.named(chain)) for chain in leaves),
        )

    @staticmethod
    def named(chain_pem: str) -> HashData:
        leaf, issuer = parse_certificates(chain_pem)[:2]
        return hash_data(leaf, issuer)

    def sign(self, arn: str = ARN) -> CertificateRecord:
        """The CA answers its one open order."""
        effect = self.issue_effect()
        chain = pki.ca("V2G").sign(effect.csr_pem, effect.not_before, effect.not_after, usages=())
        self.tell(
            v.IssuanceCompleted(
                job_id=effect.job_id,
                attempt=effect.attempt,
                external_ref=f"{arn}/certificate/{len(self.events)}",
                chain_pem=chain,
            )
        )
        return list(self.charger.certificates.values())[-1]

    def live(self, steps: int = 20) -> None:
        """Do as told until nothing is left to be done: V2G roots listed, CSRs sent under the name asked for, leaves kept."""
        for _ in range(steps):
            if not self.step():
                return

    def step(self) -> bool:
        """One thing that somebody waits for; whether there was one."""
        orders = self.orders()
        if any(isinstance(x, IssueCertificate) for x in outgoing.effects(self.charger, self.facts)):
            self.sign()
        elif orders:
            self._obey(orders[0])
        elif any(i.not_before > self.now for i in self.charger.instructions.values()):
            self.wait_for_order()
        else:
            return False
        return True

    def until(self, kind: type) -> None:
        """Up to the order of this kind."""
        while not any(isinstance(body, kind) for body in self.orders()):
            assert self.step()

    def _obey(self, body: object) -> None:
        if isinstance(body, ListCertificates):
            self.carry_out(listed=self.everything())
        elif isinstance(body, ObtainCsr):
            self.carry_out()
            part = next(p for p in self.charger.parts.values() if body.evse in (None, *p.evses))
            self.csr(part.named("secc_id") or "", body.purpose)
        elif isinstance(body, InstallLeaf):
            self.leaves.append(body.chain_pem)
            self.carry_out()
        else:
            self.carry_out()

    def current(self, part: str = "evse-1", name: str | None = None) -> CertificateRecord | None:
        slot = self.charger.slots.get(f"{name or self.name}/default/{part}")
        return self.charger.certificates[slot.current] if slot is not None and slot.current else None

    def noted(self, kind: str) -> list[SecurityEventRecorded]:
        return [x for x in self.events if isinstance(x, SecurityEventRecorded) and x.kind == kind]


def active(*parts: Part) -> SeccWorld:
    """A charger whose only, or first, SECC has its certificate."""
    world = SeccWorld(*(parts or (ONE,)))
    world.connect()
    world.ask(job_id="first", managed_identity_id="evse-1")
    world.live()
    assert world.current() is not None
    return world


# ---------------------------------------------------------------- the way


def test_root_key_leaf_and_list_come_in_this_order() -> None:
    world = SeccWorld(ONE)
    world.connect()
    assert world.ask(job_id="first") == "first"
    assert [type(body) for body in world.orders()] == [InstallAnchor]
    world.carry_out()
    assert world.orders() == [ListCertificates(SECC)]
    world.carry_out(listed=world.everything())
    assert world.orders() == [ObtainCsr(SECC)]
    world.carry_out()
    world.csr("DEABCS00000001")
    certificate = world.sign()
    assert certificate.part == "evse-1"
    [leaf] = world.orders()
    assert isinstance(leaf, InstallLeaf)
    assert len(parse_certificates(leaf.chain_pem)) == 2, "the leaf and its sub-CA, without the root"
    world.leaves.append(leaf.chain_pem)
    world.carry_out()
    assert world.charger.certificates[certificate.certificate_id].state == "installed"
    assert world.orders() == [ListCertificates(SECC, with_leaves=True)]
    world.carry_out(listed=world.everything())
    assert world.jobs["first"].state == "succeeded"
    assert world.current() == world.charger.certificates[certificate.certificate_id]
    assert world.charger.security_profile == 2
    assert outgoing.admission(world.charger).credentials == (), "it opens no session"


def test_everything_shown_of_it_is_the_seccs() -> None:
    world = active()
    certificate = world.current()
    assert certificate is not None
    assert certificate_body(world.charger, certificate)["managed_identity_id"] == "evse-1"
    assert job_body(world.charger, world.jobs["first"])["managed_identity_id"] == "evse-1"
    shown = charger_body(world.charger)
    assert {(s["managed_identity_id"], s["purpose"], s["variant"]) for s in shown["slots"]} == {
        ("evse-1", SECC, "default")
    }
    assert shown["parts"] == [
        {
            "managed_identity_id": "evse-1",
            "kind": "evse",
            "external_ids": {"secc_id": "DEABCS00000001"},
            "evses": [],
        }
    ]


def test_of_several_each_is_asked_by_its_evse_and_known_by_its_name() -> None:
    world = active(LEFT, RIGHT)
    first = world.current()
    world.ask(job_id="second", managed_identity_id="evse-2")
    assert world.orders() == [ObtainCsr(SECC, evse=3)]
    world.live()
    second = world.current("evse-2")
    assert first is not None
    assert second is not None
    assert world.current() == first, "the other's is untouched"
    assert "DEABCS00000002" in second.subject


def test_two_csrs_that_cross_reach_their_own_seccs() -> None:
    world = active(LEFT, RIGHT)
    for number, part in enumerate(("evse-1", "evse-2")):
        world.ask("issue", job_id=f"job-{number}", managed_identity_id=part)
    while not all(job.stage == "awaiting-csr" for job in world.charger.jobs.values()):
        world.carry_out()
    world.csr("DEABCS00000002")
    assert [j.attempt is not None for j in world.charger.jobs.values()] == [False, True]
    world.csr("deabcs00000001")
    assert all(job.attempt is not None for job in world.charger.jobs.values())


def test_a_charger_says_for_which_of_its_parts_it_may_ask() -> None:
    world = SeccWorld()
    assert outgoing.admission(world.charger).part_purposes == ()
    world.place(Part(identity_id="evse-1", kind="evse", names=("evse_id:DE*ABC*E1",)))
    assert outgoing.admission(world.charger).part_purposes == (), "nobody knows its SECCID"
    world.place(ONE)
    assert outgoing.admission(world.charger).part_purposes == (SECC, LATER)
    world.place(Part(identity_id="evse-1", kind="evse", names=ONE.names, is_retired=True))
    assert outgoing.admission(world.charger).part_purposes == ()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("parts", "identity_id", "code"),
    [
        ((), None, "no-such-identity"),
        ((LEFT, RIGHT), None, "identity-ambiguous"),
        ((LEFT, RIGHT), "evse-9", "no-such-identity"),
        ((Part(identity_id="evse-1", kind="evse", names=("evse_id:DE*ABC*E1",)),), None, "name-missing"),
        (
            (Part(identity_id="evse-1", kind="evse", names=ONE.names, is_retired=True),),
            None,
            "no-such-identity",
        ),
    ],
)
def test_a_job_that_could_be_nobodys_is_refused(
    parts: tuple[Part, ...], identity_id: str | None, code: str
) -> None:
    refusal = SeccWorld(*parts).ask(managed_identity_id=identity_id)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.status) == (code, 409)


def test_the_chargers_own_purpose_is_no_seccs() -> None:
    refusal = SeccWorld(ONE).ask(purpose="charging_station", managed_identity_id="evse-1")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "wrong-identity"


def test_a_certificate_is_not_reached_under_anothers_identity() -> None:
    world = active(LEFT, RIGHT)
    certificate = world.current()
    assert certificate is not None
    refusal = world.ask("revoke", certificate_id=certificate.certificate_id, managed_identity_id="evse-2")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "unknown-certificate"


@pytest.mark.parametrize(
    ("told", "policy", "reason"),
    [
        ("CPO", {}, None),
        (None, {}, "csr-domain-component-missing"),
        ("MO", {}, "csr-domain-component-missing"),
        (None, {"domain_component": "any"}, None),
    ],
)
def test_a_leaf_that_every_car_would_refuse_is_not_asked_for(
    told: str | None, policy: dict[str, object], reason: str | None
) -> None:
    override = PolicyOverride(scope=f"purpose:{SECC}", values=policy)
    policies = PolicySet(version=1, overrides=(override,))
    world = SeccWorld(ONE, facts=replace(v2g_facts(), policies=policies))
    world.connect()
    world.ask(job_id="first")
    world.until(ObtainCsr)
    world.carry_out()
    world.csr("DEABCS00000001", domain_component=told)
    assert world.jobs["first"].reason_code == reason
    assert (world.jobs["first"].stage == "issuing") == (reason is None)


def test_another_name_is_refused_and_the_job_says_which_was_expected() -> None:
    world = SeccWorld(ONE)
    world.connect()
    world.ask(job_id="first")
    world.until(ObtainCsr)
    world.carry_out()
    world.csr("DEABCS00000009")
    job = world.jobs["first"]
    assert (job.state, job.reason_code) == ("failed", "csr-subject-mismatch")
    assert "DEABCS00000001" in (job.reason_message or "")


def test_of_several_a_name_that_is_nobodys_disturbs_no_job() -> None:
    world = active(LEFT, RIGHT)
    world.ask(job_id="second", managed_identity_id="evse-2")
    while world.charger.jobs["second"].stage != "awaiting-csr":
        world.carry_out()
    world.csr("DEABCS00000009")
    assert world.charger.jobs["second"].stage == "awaiting-csr"
    [noted] = world.noted(UNASSIGNED_CSR)
    assert "DEABCS00000009" in noted.detail


def test_a_key_serves_one_slot_and_one_realm() -> None:
    world = SeccWorld(ONE)
    world.ask(purpose="charging_station", job_id="station")
    world.ask(job_id="secc")
    world.connect()
    key = ec.generate_private_key(ec.SECP256R1())
    for _ in range(8):
        body = world.orders()[0]
        if isinstance(body, ListCertificates):
            anchors = [a for b in world.facts.bundles.values() for a in b.anchors]
            world.carry_out(listed=tuple(ReportedCertificate("any", a.hash_data[0]) for a in anchors))
        elif isinstance(body, ObtainCsr):
            break
        else:
            world.carry_out()
    world.present_csr(pki.csr("SN-1", key=key))
    assert world.charger.jobs["station"].attempt is not None
    world.csr("DEABCS00000001", key=key)
    assert world.jobs["secc"].reason_code == "csr-key-reused"
    assert world.charger.jobs["station"].attempt is not None


def test_a_key_another_identity_has_shown_is_refused() -> None:
    world = SeccWorld(ONE)
    world.connect()
    world.ask(job_id="first")
    world.until(ObtainCsr)
    key = ec.generate_private_key(ec.SECP256R1())
    text = pki.csr("DEABCS00000001", key=key, domain_component="CPO")
    world.key_owners = {parse_csr(text).spki_sha256: "unit-1"}
    world.csr("DEABCS00000001", key=key)
    assert world.jobs["first"].reason_code == "csr-key-reused"


@pytest.mark.parametrize("name", [SECC, LATER])
def test_each_edition_takes_its_own_kind_of_key(name: str) -> None:
    wrong: ec.EllipticCurve = ec.SECP521R1() if name == SECC else ec.SECP256R1()
    right: ec.EllipticCurve = ec.SECP256R1() if name == SECC else ec.SECP521R1()
    for curve, code in ((wrong, "csr-key-not-allowed"), (right, None)):
        world = SeccWorld(ONE, name=name)
        world.connect()
        world.ask(job_id="first")
        world.until(ObtainCsr)
        world.csr("DEABCS00000001", key=ec.generate_private_key(curve))
        assert world.jobs["first"].reason_code == code


def test_an_untyped_csr_stays_the_chargers_own() -> None:
    world = SeccWorld(ONE)
    world.connect()
    world.ask(job_id="first")
    world.csr("SN-1", "charging_station")
    assert {job.purpose: job.part for job in world.charger.jobs.values()} == {
        SECC: "evse-1",
        "charging_station": "",
    }


# ---------------------------------------------------------------- active means listed


def test_a_leaf_that_is_never_listed_fails_its_job_and_the_one_before_stays() -> None:
    world = active()
    before = world.current()
    world.lists_leaves = False
    world.ask("renew", job_id="second")
    world.live(steps=60)
    assert (world.jobs["second"].state, world.jobs["second"].reason_code) == (
        "failed",
        "certificate-not-listed",
    )
    now = world.current()
    assert before is not None
    assert now is not None
    assert (now.certificate_id, now.state) == (before.certificate_id, "active")


def test_one_that_is_listed_after_all_is_active_without_a_job() -> None:
    world = active()
    before = world.current()
    world.lists_leaves = False
    world.ask("renew", job_id="second")
    world.live(steps=60)
    world.lists_leaves = True
    world.wait(days=40)
    while not isinstance(world.orders()[0], ListCertificates):
        world.carry_out()
    world.carry_out(listed=world.everything())
    now = world.current()
    assert now is not None
    assert before is not None
    assert now.certificate_id != before.certificate_id
    assert world.charger.certificates[before.certificate_id].state == "superseded"


def test_a_list_is_install_evidence_where_the_answer_was_lost() -> None:
    world = SeccWorld(ONE)
    world.connect()
    world.ask(job_id="first")
    world.until(ObtainCsr)
    world.carry_out()
    world.csr("DEABCS00000001")
    world.sign()
    [leaf] = world.orders()
    assert isinstance(leaf, InstallLeaf)
    world.leaves.append(leaf.chain_pem)
    world.carry_out(Disconnected())
    call = c.CallCharger(
        call_id="call-1", charger_id="CP-1", action="GetInstalledCertificateIds", payload="{}"
    )
    world.command(call)
    world.carry_out(Answered("Accepted", listed=world.everything(), payload="{}"))
    assert world.current() is not None
    assert world.jobs["first"].state == "succeeded"
    assert not [i for i in world.charger.instructions.values() if isinstance(i.body, InstallLeaf)]


def test_a_charger_that_cannot_list_leaves_the_job_waiting_with_a_reason() -> None:
    policy = PolicySet(
        version=2, overrides=(PolicyOverride(scope=f"purpose:{SECC}", values={"confirm_rung": "accepted"}),)
    )
    world = SeccWorld(ONE, facts=replace(v2g_facts(), policies=policy))
    world.connect()
    world.ask(job_id="first")
    world.until(ListCertificates)
    world.carry_out(CallFailed("NotSupported"))
    job = world.charger.jobs["first"]
    assert (job.stage, job.waiting_for, job.reason_code) == (
        "awaiting-activation",
        "operator",
        "cannot-confirm-certificate",
    )


# ---------------------------------------------------------------- renewal, revocation, the end


def test_it_is_due_thirty_days_before_its_end_and_locks_nobody_out() -> None:
    world = active()
    certificate = world.current()
    assert certificate is not None
    assert certificate.not_after - certificate.not_before == timedelta(days=90, hours=1)
    world.now = certificate.not_after - timedelta(days=29)
    world.wait(seconds=1)
    [due] = [x for x in outgoing.effects(world.charger, world.facts) if isinstance(x, StartRenewal)]
    assert (due.purpose, due.certificate_id) == (SECC, certificate.certificate_id)
    end = lockout(world.charger)
    assert end is not None
    assert end.cause == "no-credential", "of the charger itself, which has no key in this world"
    world.ask("renew", job_id=due.job_id, certificate_id=due.certificate_id)
    assert world.charger.jobs[due.job_id].part == "evse-1"
    world.live()
    assert world.charger.certificates[certificate.certificate_id].state == "superseded"


def test_of_several_the_renewal_is_the_seccs_whose_certificate_ends() -> None:
    world = active(LEFT, RIGHT)
    certificate = world.current()
    assert certificate is not None
    world.now = certificate.not_after - timedelta(days=2)
    world.ask(job_id="other", managed_identity_id="evse-2")
    world.wait(seconds=1)
    [job] = [job for job in world.charger.jobs.values() if job.job_id != "other"]
    assert (job.action, job.part) == ("renew", "evse-1"), "in its last safe days the ledger renews by itself"


def test_own_renewals_of_an_secc_are_counted_apart() -> None:
    world = active()
    for _ in range(2):
        world.csr("DEABCS00000001")
        world.live()
    world.csr("DEABCS00000001")
    assert not world.charger.jobs, "the third in a day is held back"
    assert world.charger.own_renewals == ()
    world.csr("SN-1", "charging_station")
    assert [job.purpose for job in world.charger.jobs.values()] == ["charging_station"]


def test_a_revoked_leaf_leaves_its_slot_and_its_replacement_is_the_same_seccs() -> None:
    world = active(LEFT, RIGHT)
    certificate = world.current()
    assert certificate is not None
    world.ask(
        "revoke", certificate_id=certificate.certificate_id, revocation_reason="key_compromise", replace=True
    )
    assert world.current() is None
    [revocation] = [
        x for x in outgoing.effects(world.charger, world.facts) if isinstance(x, RevokeCertificate)
    ]
    assert revocation.certificate_id == certificate.certificate_id
    assert {job.part for job in world.charger.jobs.values()} == {"evse-1"}
    world.live()
    assert world.current() is not None


def test_an_incident_replaces_its_leaves_whatever_another_secc_waits_for() -> None:
    world = active(LEFT, RIGHT)
    certificate = world.current()
    assert certificate is not None
    world.ask(job_id="other", managed_identity_id="evse-2")
    incident = Incident(
        incident_id="i-1",
        name="v2g",
        reason="test",
        mode="replace",
        revocation_reason="superseded",
        selector=Selector(purpose=SECC, issuing_ca_ids=(certificate.issuing_ca_id,)),
        percent=100,
        expected=1,
        author="a",
        approver="b",
        opened_at=world.now,
    )
    world.facts = replace(world.facts, incidents={"i-1": incident})
    world.wait(seconds=1)
    [job] = [job for job in world.charger.jobs.values() if job.action == "renew"]
    assert job.part == "evse-1"
    world.live()
    assert world.charger.certificates[certificate.certificate_id].revocation_requested_at is not None
    now = world.current()
    assert now is not None
    assert now.is_usable


def test_when_the_unit_leaves_its_seccs_certificates_are_revoked_and_the_secc_stays() -> None:
    world = active()
    certificate = world.current()
    assert certificate is not None
    world.command(
        c.ReplaceUnit(
            job_id="swap",
            charger_id="CP-1",
            managed_identity_id="unit-2",
            serial_number="SN-2",
            security_profile=0,
            reason="broken",
        )
    )
    assert world.current() is None
    left = world.charger.certificates[certificate.certificate_id]
    assert (left.revocation_requested_at, left.part) == (world.now, "evse-1")
    assert list(world.charger.parts) == ["evse-1"]


def test_a_root_that_a_leaf_in_use_hangs_on_is_not_deleted() -> None:
    world = active()
    anchor = world.facts.bundles[SECC].anchors[0]
    refusal = world.ask("delete", fingerprint_sha256=anchor.fingerprint_sha256)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "anchor-of-live-certificate"
    certificate = world.current()
    assert certificate is not None
    world.ask("deactivate", certificate_id=certificate.certificate_id)
    assert world.ask("delete", fingerprint_sha256=anchor.fingerprint_sha256, job_id="gone") == "gone"


def test_a_leaf_is_deleted_by_the_hash_data_it_is_listed_with() -> None:
    world = active()
    certificate = world.current()
    assert certificate is not None
    world.ask("delete", certificate_id=certificate.certificate_id, job_id="gone")
    assert world.charger.jobs["gone"].part == "evse-1"
    world.until(DeleteCertificate)
    [order] = world.orders()
    assert isinstance(order, DeleteCertificate)
    assert order.hash_data == world.named(world.leaves[0])
    world.carry_out()
    assert world.charger.jobs["gone"].state == "open", "only a list without it proves that it is gone"
    world.leaves.clear()
    world.live()
    assert world.jobs["gone"].state == "succeeded"
    assert world.current() is None


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("known", "part", "code"),
    [
        ((), ONE, None),
        ((ONE,), RIGHT, "evse-numbers-missing"),
        ((LEFT,), ONE, None),
        ((LEFT,), RIGHT, None),
        ((LEFT,), Part(identity_id="evse-2", kind="evse", names=RIGHT.names), "evse-numbers-missing"),
        (
            (LEFT,),
            Part(identity_id="evse-2", kind="evse", names=RIGHT.names, evses=(2,)),
            "evse-number-taken",
        ),
    ],
)
def test_several_in_a_charger_must_be_told_apart(
    known: tuple[Part, ...], part: Part, code: str | None
) -> None:
    found = part_place.problem(SeccWorld(*known).charger, part)
    assert (found.code if found is not None else None) == code


def test_one_in_use_is_not_retired() -> None:
    world = active()
    gone = Part(identity_id="evse-1", kind="evse", names=ONE.names, is_retired=True)
    found = part_place.problem(world.charger, gone)
    assert found is not None
    assert found.code == "identity-in-use"
    certificate = world.current()
    assert certificate is not None
    world.ask("deactivate", certificate_id=certificate.certificate_id)
    assert part_place.problem(world.charger, gone) is None


def test_the_purposes_say_what_the_standard_says() -> None:
    for name in (SECC, LATER):
        spec = purpose(name)
        assert (spec.realm, spec.identity_kind, spec.active_rung) == ("iso15118", "evse", "listed")
        assert not spec.is_session_credential
        assert set(spec.key_usage) == {"digital_signature", "key_agreement"}
        assert "brokered" not in spec.modes
