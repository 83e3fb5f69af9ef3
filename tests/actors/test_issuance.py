"""The issuance actor over a CA in memory: what it records and in which order, what it repeats, what it never does twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from actors.issuance import IssuanceActor, IssuancePorts, Settled, Wanted
from actors.issuance.returned import completed
from bfactors import evidence as v
from bfactors.ca import (
    IssuedChain,
    Transient,
)
from bfactors.effect import Effect, IssueCertificate
from bfactors.errors import Unavailable
from bfactors.x509 import is_root, parse_certificates
from tests.core import pki
from tests.core.x509_maker import Authority
from tests.fakes.ca import ARN, CountedMetrics, FakeCa, ManualTime, settle

CSR = pki.csr("SN-1")
Body = TypeVar("Body", bound=v.EvidenceBody)


class Desk:
    """A CA, an evidence log and a ledger small enough to be seen through; actors come and go over them."""

    def __init__(self, **settings: Any) -> None:
        self.time = ManualTime()
        self.ca = FakeCa(self.time)
        self.metrics = CountedMetrics()
        self.evidence: dict[str, v.Evidence] = {}
        self.journal = self.ca.calls
        self.log_is_away = False
        self.ledger_lags = False
        self.failures: list[BaseException] = []
        self.outstanding: dict[str, Effect] = {}
        self.settings = settings
        self.revoker: FakeCa | None = self.ca
        self.actor = self.new_actor()

    def new_actor(self) -> IssuanceActor:
        ports = IssuancePorts(
            authority=self.ca,
            revoker=self.revoker,
            evidence=self,
            clock=self.time,
            metrics=self.metrics,
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
        )
        self.actor = IssuanceActor("charging_station", ports, **self.settings)
        self.actor.start(lambda _, error, __: self.failures.append(error))
        return self.actor

    def restart(self) -> None:
        """Kill the actor where it stands; the next one is given everything outstanding, as the router does."""
        self.actor.abandon()
        actor = self.new_actor()
        for effect in self.outstanding.values():
            assert actor.tell(Wanted(effect))

    # ------------------------------------------------------------ EvidenceLog, and the ledger behind it

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        await settle(1)
        if self.log_is_away:
            raise Unavailable("NATS")
        if evidence.evidence_id not in self.evidence:
            self.evidence[evidence.evidence_id] = evidence
            self.journal.append(("acked", v.kind_name(evidence.body)))
            if not self.ledger_lags:
                self._fold(evidence.body)
        await settle(1)

    def _fold(self, body: v.EvidenceBody) -> None:
        match body:
            case v.IssuanceRequested(job_id=job_id, attempt=attempt, external_ref=reference):
                effect = self.outstanding.get(f"{job_id}:{attempt}")
                if isinstance(effect, IssueCertificate):
                    self.want(msgspec.structs.replace(effect, external_ref=reference))
            case v.IssuanceAttemptLapsed(job_id=job_id, attempt=attempt):
                self.settle(f"{job_id}:{attempt}")
                self.want(self.issue(job_id=job_id, attempt=attempt + 1))
            case (
                v.IssuanceCompleted(job_id=job_id, attempt=attempt)
                | v.IssuanceRefused(job_id=job_id, attempt=attempt)
            ):
                self.settle(f"{job_id}:{attempt}")
            case v.RevocationAccepted(certificate_id=certificate_id):
                self.settle(f"{certificate_id}:revoke")
            case _:
                pass

    def want(self, effect: Effect) -> None:
        self.outstanding[effect.effect_id] = effect
        self.actor.tell(Wanted(effect))

    def settle(self, effect_id: str) -> None:
        if self.outstanding.pop(effect_id, None) is not None:
            self.actor.tell(Settled(effect_id))

    # ------------------------------------------------------------ what a test asks

    def issue(self, **changes: Any) -> IssueCertificate:
        """An issue effect decided now."""
        now = self.time.now()
        job_id, attempt = changes.pop("job_id", "job"), changes.pop("attempt", 1)
        values: dict[str, Any] = {
            "effect_id": f"{job_id}:{attempt}",
            "charger_id": "CP-1",
            "purpose": "charging_station",
            "job_id": job_id,
            "attempt": attempt,
            "token": f"{job_id}-{attempt}",
            "authority_arn": ARN,
            "authority_pem": pki.ca().pem,
            "authority_chain_pem": "",
            "template": "EndEntityClientAuthCertificate/V1",
            "signing_algorithm": "SHA256WITHECDSA",
            "csr_pem": CSR,
            "not_before": now - timedelta(hours=1),
            "not_after": now + timedelta(days=90),
            "call_before": now + timedelta(minutes=4),
        }
        return IssueCertificate(**(values | changes))

    async def ask(self, **changes: Any) -> IssueCertificate:
        """Have an issue effect decided, and let everything happen that needs no time."""
        effect = self.issue(**changes)
        self.want(effect)
        await settle()
        return effect

    def facts(self, kind: type[Body]) -> list[Body]:
        return [e.body for e in self.evidence.values() if isinstance(e.body, kind)]

    def kinds(self) -> list[str]:
        return [v.kind_name(e.body) for e in self.evidence.values()]

    def called(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.journal)


def throttled() -> Transient:
    return Transient("ThrottlingException", "Rate exceeded")


def lost() -> Transient:
    return Transient("ReadTimeoutError", "no answer", may_have_happened=True)


# ---------------------------------------------------------------- the way of a certificate


async def test_a_certificate_is_asked_for_named_fetched_and_recorded_in_that_order() -> None:
    desk = Desk()
    effect = await desk.ask()
    reference = next(iter(desk.ca.made))
    assert desk.journal == [
        ("issue", effect.token),
        ("acked", "IssuanceRequested"),
        ("fetch", reference),
        ("acked", "IssuanceCompleted"),
    ]
    (order,) = desk.ca.orders
    assert (order.token, order.csr_pem, order.template) == (effect.token, effect.csr_pem, effect.template)
    assert (order.not_before, order.not_after) == (effect.not_before, effect.not_after)
    assert desk.outstanding == {}
    (evidence, _) = desk.evidence.values()
    assert (evidence.charger_id, evidence.source) == ("CP-1", f"ca:{ARN}")


async def test_the_recorded_chain_holds_leaf_and_issuers_but_no_root() -> None:
    desk = Desk()
    await desk.ask()
    (completed,) = desk.facts(v.IssuanceCompleted)
    certificates = parse_certificates(completed.chain_pem)
    assert [certificate.common_name for certificate in certificates] == ["SN-1", "Fleet issuing"]
    assert not any(is_root(certificate) for certificate in certificates)
    assert completed.findings == ()


async def test_nothing_is_fetched_before_the_reference_is_acknowledged() -> None:
    desk = Desk()
    desk.log_is_away = True
    await desk.ask()
    await desk.time.advance(30)
    assert (desk.called("issue"), desk.called("fetch"), desk.kinds()) == (1, 0, [])
    desk.log_is_away = False
    await desk.time.advance(10)
    assert desk.kinds() == ["IssuanceRequested", "IssuanceCompleted"]
    assert len(desk.ca.made) == 1


async def test_a_result_waits_for_a_log_that_is_away_and_is_recorded_once() -> None:
    desk = Desk()
    desk.ca.ready_after = timedelta(seconds=1)
    await desk.ask()
    desk.log_is_away = True
    await desk.time.advance(300)
    assert desk.kinds() == ["IssuanceRequested"]
    desk.log_is_away = False
    await desk.time.advance(20)
    assert desk.kinds() == ["IssuanceRequested", "IssuanceCompleted"]


async def test_an_effect_with_a_reference_is_only_fetched() -> None:
    desk = Desk()
    effect = await desk.ask()
    (reference,) = desk.ca.made
    desk.evidence.clear()
    desk.journal.clear()
    desk.want(msgspec.structs.replace(effect, external_ref=reference))
    await settle()
    assert desk.journal == [("fetch", reference), ("acked", "IssuanceCompleted")]


# ---------------------------------------------------------------- what the CA returned


async def test_a_certificate_for_another_key_is_recorded_with_the_objection() -> None:
    desk = Desk()
    other = pki.ca().sign(pki.csr("SN-1"), desk.issue().not_before, desk.issue().not_after)
    leaf_pem = other[: other.index("-----END CERTIFICATE-----") + 26]
    desk.ca.rewrite = lambda chain: IssuedChain(leaf_pem=leaf_pem, issuers_pem=chain.issuers_pem)
    await desk.ask()
    (completed,) = desk.facts(v.IssuanceCompleted)
    (finding,) = completed.findings
    assert finding.startswith("leaf-key-differs: ")


async def test_a_certificate_of_another_authority_is_recorded_with_the_objections() -> None:
    desk = Desk()
    other = pki.ca("Other").sign(CSR, desk.issue().not_before, desk.issue().not_after)
    leaf_pem = other[: other.index("-----END CERTIFICATE-----") + 26]
    desk.ca.rewrite = lambda chain: IssuedChain(leaf_pem=leaf_pem, issuers_pem=chain.issuers_pem)
    await desk.ask()
    (completed,) = desk.facts(v.IssuanceCompleted)
    assert [finding.partition(": ")[0] for finding in completed.findings] == [
        "leaf-issuer-differs",
        "leaf-chain-broken",
    ]


async def test_a_leaf_that_cannot_be_read_is_refused_and_names_its_reference() -> None:
    desk = Desk()
    desk.ca.rewrite = lambda chain: IssuedChain(leaf_pem="<html>", issuers_pem=chain.issuers_pem)
    await desk.ask()
    (refused,) = desk.facts(v.IssuanceRefused)
    assert refused.code == "leaf-malformed"
    assert next(iter(desk.ca.made)) in refused.message


async def test_a_missing_chain_is_made_from_what_is_known_of_the_authority() -> None:
    desk = Desk()
    desk.ca.rewrite = lambda chain: IssuedChain(leaf_pem=chain.leaf_pem, issuers_pem="")
    await desk.ask()
    (completed,) = desk.facts(v.IssuanceCompleted)
    assert [c.common_name for c in parse_certificates(completed.chain_pem)] == ["SN-1", "Fleet issuing"]
    assert completed.findings == ()


async def test_a_leaf_of_a_root_is_delivered_without_it() -> None:
    desk, root = Desk(), Authority.root("Fleet root")
    leaf = root.leaf("SN-1", "BetterFleet", usage="client").pem
    for sent in ("", root.pair.pem):
        effect = desk.issue(authority_pem=root.pair.pem, authority_chain_pem="")
        fact = completed(effect, "ref", IssuedChain(leaf_pem=leaf, issuers_pem=sent))
        assert isinstance(fact, v.IssuanceCompleted)
        assert fact.chain_pem == leaf


async def test_a_chain_that_cannot_be_read_is_an_objection() -> None:
    desk = Desk()
    desk.ca.rewrite = lambda chain: IssuedChain(
        leaf_pem=chain.leaf_pem, issuers_pem="-----BEGIN CERTIFICATE-----"
    )
    await desk.ask()
    (completed,) = desk.facts(v.IssuanceCompleted)
    assert completed.findings[0].startswith("leaf-chain-malformed: ")
    assert len(parse_certificates(completed.chain_pem)) == 2
