"""One report for all that are in doubt: who is answered by it, who waits for the next, and what is fetched for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from actors.issuance.message import Settled, Wanted
from actors.reconciliation import ReconciliationActor, ReconciliationPorts
from bfactors import evidence as v
from bfactors.audit_report import SETTLES_WITHIN
from bfactors.ca import SigningOrder
from bfactors.command import CommandAnswer, CommandEnvelope
from bfactors.effect import ReconcileIssuance
from bfactors.known_certificate import KnownCertificate
from bfactors.x509 import parse_certificate, parse_csr
from tests.core import pki
from tests.fakes.ca import ARN, CountedMetrics, FakeCa, ManualTime, settle

TEMPLATE = "EndEntityClientAuthCertificate/V1"


class Bench:
    """A CA, the actor, and what it records; the ledger's rows as far as a test names them."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.ca = FakeCa(self.time)
        self.rows: dict[str, KnownCertificate] = {}
        self.told: list[v.EvidenceBody] = []
        self.metrics = CountedMetrics()
        self.failures: list[BaseException] = []
        ports = ReconciliationPorts(
            authority=self.ca,
            auditor=self.ca,
            index=self,
            commands=self,
            evidence=self,
            clock=self.time,
            metrics=self.metrics,
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
        )
        self.actor = ReconciliationActor("charging_station", ports)
        self.actor.start(lambda _, error, __: self.failures.append(error))

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        await asyncio.sleep(0)
        self.told.append(evidence.body)

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        return {serial: row for serial, row in self.rows.items() if serial in serial_numbers}

    async def of_purpose(
        self, purpose: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[KnownCertificate]:
        return []

    async def charger_of_key(self, spki_sha256: str) -> str | None:
        return None

    async def serve(self, partition: int, handle: object) -> None:
        raise NotImplementedError

    async def withdraw(self, partition: int) -> None:
        raise NotImplementedError

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        raise NotImplementedError

    def order(self, csr: str, token: str = "token") -> SigningOrder:
        now = self.time.now()
        return SigningOrder(
            authority_arn=ARN,
            token=token,
            csr_pem=csr,
            template=TEMPLATE,
            signing_algorithm="SHA256WITHECDSA",
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=90),
            call_before=now + timedelta(minutes=4),
        )

    def doubt(self, order: SigningOrder, job_id: str) -> ReconcileIssuance:
        effect = ReconcileIssuance(
            effect_id=f"{job_id}:1:reconcile",
            charger_id=job_id,
            purpose="charging_station",
            job_id=job_id,
            attempt=1,
            authority_arn=ARN,
            template=order.template,
            spki_sha256=parse_csr(order.csr_pem).spki_sha256,
            not_before=order.not_before,
            not_after=order.not_after,
            call_before=order.call_before,
        )
        self.actor.tell(Wanted(effect))
        return effect

    def answers(self) -> dict[str, str | None]:
        return {
            fact.job_id: fact.external_ref for fact in self.told if isinstance(fact, v.IssuanceReconciled)
        }


async def test_many_in_doubt_share_one_report_and_who_comes_too_late_has_the_next() -> None:
    bench = Bench()
    orders = [bench.order(pki.csr(f"SN-{number}"), f"t{number}") for number in range(4)]
    refs = [await bench.ca.issue(order) for order in orders[:3]]
    for number, order in enumerate(orders):
        bench.doubt(order, f"job-{number}")
    await bench.time.advance(120)
    await bench.time.advance(179)
    assert bench.ca.reports == {}, "a call of theirs may still be on its way"
    await bench.time.advance(1)
    assert bench.answers() == {"job-0": refs[0], "job-1": refs[1], "job-2": refs[2], "job-3": None}
    (report,) = [ref for ref, _ in bench.ca.reports.values()]
    assert report.created_at >= orders[0].call_before + SETTLES_WITHIN
    late_ref = await bench.ca.issue(bench.order(pki.csr("LATE"), "late"))
    bench.doubt(bench.ca.made[late_ref].order, "late")
    await bench.time.advance(1700)
    assert "late" not in bench.answers(), "the report is older than its call"
    await bench.time.advance(200)
    assert bench.answers()["late"] == late_ref
    assert len(bench.ca.reports) == 2
    assert bench.failures == []


async def test_a_report_is_no_answer_for_a_call_that_left_after_it() -> None:
    bench = Bench()
    first = bench.order(pki.csr("SN-1"), "t1")
    bench.doubt(first, "first")
    await bench.time.advance(290)
    second = bench.order(pki.csr("SN-2"), "t2")
    bench.doubt(second, "second")  # while the first waits: its calls may leave for four minutes yet
    await bench.time.advance(15)
    second_ref = await bench.ca.issue(second)
    await bench.time.advance(2400)
    assert bench.answers() == {"first": None, "second": second_ref}


async def test_what_the_ledger_has_is_neither_fetched_nor_taken_for_somebody_elses() -> None:
    bench = Bench()
    order = bench.order(pki.csr("SN-1"))
    known_ref = await bench.ca.issue(order)
    serial = parse_certificate(bench.ca.made[known_ref].chain.leaf_pem).serial_number
    bench.rows[serial] = KnownCertificate(
        certificate_id="c",
        charger_id="CP-1",
        purpose="charging_station",
        state="superseded",
        serial_number=serial,
        issuing_ca_id=ARN,
        external_ref=known_ref,
        not_after=order.not_after,
        issued_at=bench.time.now(),
    )
    bench.doubt(order, "job")
    await bench.time.advance(600)
    assert bench.answers() == {"job": None}
    assert [call for call in bench.ca.calls if call[0] == "fetch"] == []


async def test_what_is_given_up_meanwhile_is_not_answered() -> None:
    bench = Bench()
    effect = bench.doubt(bench.order(pki.csr("SN-1")), "job")
    await settle()
    bench.actor.tell(Settled(effect.effect_id))
    await bench.time.advance(600)
    assert bench.told == []


async def test_a_search_that_is_recorded_is_not_made_again_before_the_ledger_has_heard_of_it() -> None:
    bench = Bench()
    bench.doubt(bench.order(pki.csr("SN-1")), "job")
    await bench.time.advance(4000)
    assert len(bench.told) == 1
    assert len(bench.ca.reports) == 1
    assert bench.metrics.counts["bf_issuance_reconciled_total", "charging_station", "absent"] == 1
