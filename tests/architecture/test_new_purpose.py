"""A purpose is one file: dropped into a folder, it is issued and renewed without another file being touched."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import bfactors.purposes
from bfactors import command as c
from bfactors import evidence as v
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger import outgoing
from bfactors.charger.state import CertificateRecord
from bfactors.effect import Effect, IssueCertificate, StartRenewal
from bfactors.instruction import InstallLeaf, ListCertificates, ObtainCsr
from bfactors.ocpp import Answered
from bfactors.purpose import purpose, purposes, session_purpose
from bfactors.x509 import hash_data, parse_certificates
from tests.core import pki
from tests.core.ledger import Partition, asked, fact, opening, registration
from tests.core.world import World, fleet_facts

FILE = '''"""A depot gate's reader, for the test."""

from bfactors.purpose import PurposeSpec

PURPOSE = PurposeSpec(
    name="gate_reader",
    title="Gate reader",
    realm="vehicle-vas",
    modes=("managed",),
    owner="BetterFleet",
    identity_kind="charger",
    anchor_bundle={bundle},
    evidence_rungs=("issued", "installed", "listed"),
    active_rung="{rung}",
    template="EndEntityClientAuthCertificate/V1",
    subject_fields=("common_name",),
)
'''


@pytest.fixture(params=["installed", "listed"])
def rung(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    text = FILE.format(rung=request.param, bundle='"backend_server"' if request.param == "listed" else "None")
    (tmp_path / "gate_reader.py").write_text(text)
    monkeypatch.setattr(bfactors.purposes, "__path__", [*bfactors.purposes.__path__, str(tmp_path)])
    _forget()
    yield request.param
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    sys.modules.pop("bfactors.purposes.gate_reader", None)
    purposes.cache_clear()
    session_purpose.cache_clear()


def facts_with_reader():  # type: ignore[no-untyped-def]
    return fleet_facts(
        c.RegisterAuthority(
            purpose="gate_reader",
            authority_arn="arn:gate",
            certificate_pem=pki.ca("Gate").pem,
            chain_pem="",
            signing_algorithm="SHA256WITHECDSA",
        )
    )


class Reader(World):
    """A charger whose gate reader gets a certificate; its session stays on profile 2."""

    def __init__(self, rung: str) -> None:
        self.rung = rung
        super().__init__(facts_with_reader(), target_security_profile=2)

    def walk(self) -> CertificateRecord:
        """From an open job to an active leaf, by whatever is ordered."""
        for _ in range(12):
            if not self.charger.jobs:
                break
            self.step()
        (slot,) = [self.charger.slots["gate_reader/default"]]
        assert slot.current is not None
        return self.charger.certificates[slot.current]

    def step(self) -> None:
        bodies = self.orders()
        if any(isinstance(x, IssueCertificate) for x in self.effects()):
            effect = self.issue_effect()
            chain = pki.ca("Gate").sign(effect.csr_pem, effect.not_before, effect.not_after)
            arn = f"arn:gate/certificate/{effect.effect_id}"
            self.tell(
                v.IssuanceCompleted(
                    job_id=effect.job_id, attempt=effect.attempt, external_ref=arn, chain_pem=chain
                )
            )
        elif bodies and isinstance(bodies[0], ListCertificates):
            self.carry_out(listed=self.everything())
        elif bodies:
            body = self.carry_out()
            if isinstance(body, ObtainCsr):
                assert body.purpose == "gate_reader"
                self.tell(
                    v.CsrReceived(
                        session_id="s1", message_id="m", purpose="gate_reader", csr=pki.csr("SN-1", None)
                    )
                )

    def effects(self) -> list[Effect]:
        return outgoing.effects(self.charger, self.facts)

    def everything(self) -> tuple[ReportedCertificate, ...]:
        anchors = [a.hash_data[0] for a in self.facts.bundles["backend_server"].anchors]
        leaves = []
        for certificate in self.charger.certificates.values():
            leaf, issuer = parse_certificates(certificate.chain_pem)[:2]
            leaves.append(hash_data(leaf, issuer))
        return tuple(ReportedCertificate("any", data) for data in (*anchors, *leaves))


def test_a_new_purpose_is_issued_and_renewed(rung: str) -> None:
    assert purpose("gate_reader").active_rung == rung
    world = Reader(rung)
    world.connect()
    world.request(purpose="gate_reader", job_id="first")
    first = world.walk()
    assert first.state == "active"
    assert world.jobs["first"].state == "succeeded"
    world.now = first.not_after - timedelta(days=25)
    world.wait(seconds=1)
    (due,) = world.effects()
    assert isinstance(due, StartRenewal)
    assert due.purpose == "gate_reader"
    world.request("renew", purpose="gate_reader", job_id=due.job_id, certificate_id=due.certificate_id)
    second = world.walk()
    assert second.certificate_id != first.certificate_id
    assert world.charger.certificates[first.certificate_id].state == "superseded"
    assert "SecurityProfileMigrated" not in world.names()
    assert any(isinstance(getattr(event, "body", None), InstallLeaf) for event in world.events)


def test_its_leaves_open_no_session(rung: str) -> None:
    world = Reader(rung)
    world.connect()
    world.request(purpose="gate_reader", job_id="first")
    world.walk()
    assert outgoing.admission(world.charger).credentials == ()
    assert session_purpose().name != "gate_reader"


def test_it_goes_through_the_ledger_like_any_other(rung: str) -> None:
    partition = Partition(facts=facts_with_reader())
    request = c.RequestJob(
        job_id="first", charger_id="CP-1", purpose="gate_reader", action="issue", reason="test"
    )
    partition.commit(
        asked(registration(serial_number="SN-1", target_security_profile=2)), fact(opening()), asked(request)
    )
    assert partition.answers[1].refusal is None
    for number in range(12):
        state = partition.states["CP-1"]
        assert state is not None
        for order in outgoing.orders(state, partition.facts, partition.now):
            key = {"instruction_id": order.instruction_id, "decision": 1, "session_id": "s1"}
            listed: tuple[ReportedCertificate, ...] = ()
            if isinstance(order.body, ListCertificates):
                reader = Reader.__new__(Reader)
                reader.state, reader.facts = state, partition.facts
                listed = reader.everything()
            partition.commit(
                fact(v.InstructionSent(**key)),  # type: ignore[arg-type]
                fact(v.InstructionAnswered(outcome=Answered("Accepted", listed=listed), **key)),  # type: ignore[arg-type]
            )
            if isinstance(order.body, ObtainCsr):
                csr = pki.csr("SN-1", None)
                partition.commit(
                    fact(v.CsrReceived(session_id="s1", message_id="m", purpose="gate_reader", csr=csr))
                )
        for effect in outgoing.effects(state, partition.facts):
            assert isinstance(effect, IssueCertificate)
            chain = pki.ca("Gate").sign(effect.csr_pem, effect.not_before, effect.not_after)
            done = v.IssuanceCompleted(
                job_id="first",
                attempt=effect.attempt,
                external_ref=f"arn/certificate/{number}",
                chain_pem=chain,
            )
            partition.commit(fact(done))
    state = partition.states["CP-1"]
    assert state is not None
    assert state.slots["gate_reader/default"].current is not None
    assert state.jobs == {}
    (row,) = {r.certificate_id: r for b in partition.batches for r in b.certificates}.values()
    assert (row.purpose, row.realm) == ("gate_reader", "vehicle-vas")
    partition.check_chain()


def test_a_purpose_file_must_declare_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "teapot.py").write_text(FILE.format(rung="installed", bundle="None"))
    monkeypatch.setattr(bfactors.purposes, "__path__", [str(tmp_path)])
    purposes.cache_clear()
    with pytest.raises(ValueError, match="declares the name"):
        purposes()
    monkeypatch.undo()
    purposes.cache_clear()
