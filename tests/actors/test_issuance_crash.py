"""Crashes at every await of the issuance actor, with the ledger's own rules behind it: what is made once stays one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from actors.issuance import IssuanceActor, IssuancePorts, Settled, Wanted
from actors.mailbox import MailboxState
from actors.reconciliation import ReconciliationActor, ReconciliationPorts
from bfactors import event as e
from bfactors import evidence as v
from bfactors.ca import Transient
from bfactors.charger import outgoing
from bfactors.charger.state import CertificateRecord
from bfactors.command import CancelJob, RequestJob
from bfactors.effect import Effect
from bfactors.known_certificate import KnownCertificate
from tests.core import pki
from tests.core.world import World
from tests.fakes.ca import CountedMetrics, FakeCa, ManualTime, settle

pytestmark = pytest.mark.timeout(60)

CSR = pki.csr("SN-1")
STEPS_OF_A_LIFE = 40
"""More turns of the loop than an undisturbed life needs; the test of that name keeps it so."""


class WorldIndex:
    """`CertificateIndex` over one charger's state."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def by_serial(self, serial_numbers: Sequence[str]) -> Mapping[str, KnownCertificate]:
        return {each.serial_number: each for each in self._all() if each.serial_number in serial_numbers}

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
                index=WorldIndex(self.world),
                evidence=self,
                clock=self.time,
                metrics=CountedMetrics(),
                sleep=self.time.sleep,
                uniform=lambda low, high: (low + high) / 2,
            ),
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
            self.world.tell(evidence.body)
            self.tell_changes()
        await asyncio.sleep(0)

    def tell_changes(self) -> None:
        wanted = {
            effect.effect_id: effect for effect in outgoing.effects(self.world.charger, self.world.facts)
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


async def test_an_undisturbed_life_needs_fewer_turns_than_the_crash_tests_try() -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.take_csr()
    turns = 0
    while ledger.outstanding:
        await asyncio.sleep(0)
        turns += 1
    assert turns < STEPS_OF_A_LIFE - 5
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]
    assert ledger.count(e.IssuanceInDoubt) == 0


@pytest.mark.parametrize("ready_after_s", [0, 30])
async def test_a_crash_at_any_step_inside_the_window_makes_one_certificate(ready_after_s: float) -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.ca.ready_after = timedelta(seconds=ready_after_s)
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(20)
        await ledger.finish()
        assert len(ledger.ca.made) == 1, f"after a crash at turn {turns}"
        assert len({order.token for order in ledger.ca.orders}) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert ledger.count(e.IssuanceInDoubt) == 0
        kinds = [v.kind_name(body) for body in ledger.bodies]
        assert kinds == ["IssuanceRequested", "IssuanceCompleted"], "a fact told again has the same id"


async def test_two_crashes_at_any_two_steps_inside_the_window_make_one_certificate() -> None:
    for first in range(0, STEPS_OF_A_LIFE, 2):
        for second in range(1, STEPS_OF_A_LIFE, 3):
            ledger = Ledger()
            ledger.take_csr()
            await ledger.live(first)
            await ledger.time.advance(10)
            await ledger.live(second)
            await ledger.time.advance(10)
            await ledger.finish()
            assert len(ledger.ca.made) == 1, f"after crashes at turns {first} and {second}"
            assert ledger.count(e.CertificateIssued) == 1


async def test_a_crash_that_lasts_longer_than_the_window_is_explained_before_the_ca_is_asked_again() -> None:
    adopted, absent = 0, 0
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        assert ledger.count(e.IssuanceInDoubt) == 0
        assert len(ledger.ca.made) == 1, f"at turn {turns}"
        assert ledger.count(e.CertificateIssued) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert len(ledger.ca.reports) <= 1
        adopted += ledger.count(e.IssuanceAdopted)
        absent += ledger.count(e.IssuanceLapsed)
    assert adopted, "the test no longer meets a call whose answer was lost"
    assert absent, "the test no longer meets a crash before the call"


async def test_without_audit_reports_such_a_crash_leaves_at_most_one_doubt_with_its_reason() -> None:
    doubts, made = set(), set()
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.auditor = None
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        assert ledger.count(e.IssuanceInDoubt) <= 1
        assert len(ledger.ca.made) <= 1 + ledger.count(e.IssuanceInDoubt), f"at turn {turns}"
        assert ledger.count(e.CertificateIssued) == 1
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        reasons = {x.reason_code for x in ledger.world.events if isinstance(x, e.IssuanceInDoubt)}
        assert reasons <= {"no-audit-report"}
        doubts.add(ledger.count(e.IssuanceInDoubt))
        made.add(len(ledger.ca.made))
    assert (doubts, made) == ({0, 1}, {1, 2}), "the test no longer meets the moments it is about"


async def test_a_crash_during_the_search_changes_nothing() -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        await ledger.lose_the_answer()
        await ledger.time.advance(600)
        await ledger.live(turns)
        await ledger.time.advance(5)
        await ledger.finish()
        assert len(ledger.ca.made) == 1, f"after a crash at turn {turns}"
        assert [certificate.state for certificate in ledger.certificates] == ["issued"]
        assert ledger.count(e.IssuanceInDoubt) == 0


@pytest.mark.parametrize(
    ("away_s", "sends_again"), [(239, True), (241, False), (299, False), (301, False), (1800, False)]
)
async def test_the_token_goes_out_again_only_while_the_ca_still_knows_it(
    away_s: float, sends_again: bool
) -> None:
    """Its window is 5 minutes from the first call; ours ends a minute earlier, so 4:59 and 5:01 are alike to us."""
    ledger = Ledger()
    await ledger.lose_the_answer()
    await ledger.time.advance(away_s)
    sent = len(ledger.ca.orders)
    await ledger.finish()
    assert (len(ledger.ca.orders) > sent) is sends_again
    assert {order.token for order in ledger.ca.orders} == {ledger.ca.orders[0].token}
    assert ledger.count(e.IssuanceAdopted) == (0 if sends_again else 1)
    assert len(ledger.ca.made) == 1
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]


async def test_a_job_that_waits_for_the_report_says_so_and_until_when() -> None:
    ledger = Ledger()
    await ledger.ca.report(ledger.ca.arn, ledger.time.now())
    await ledger.lose_the_answer()
    await ledger.time.advance(600)
    ledger.wake()
    await ledger.time.advance(5)
    (job,) = ledger.world.charger.jobs.values()
    assert (job.stage, job.waiting_for, job.reason_code) == (
        "issuing",
        "reconciliation",
        "awaiting-reconciliation",
    )
    assert job.reason_message is not None
    assert "UTC" in job.reason_message, "it names the time of the next report"
    await ledger.time.advance(1200)
    assert [certificate.state for certificate in ledger.certificates] == ["issued"]
    assert len(ledger.ca.reports) == 2, "half an hour apart"


async def test_no_token_is_ever_sent_after_its_attempt_was_given_up() -> None:
    for turns in range(STEPS_OF_A_LIFE):
        ledger = Ledger()
        ledger.take_csr()
        await ledger.live(turns)
        await ledger.time.advance(600)
        await ledger.finish()
        tokens = [order.token for order in ledger.ca.orders]
        assert tokens == sorted(tokens, key=tokens.index), "an earlier token came again after a later one"


async def test_a_ca_that_is_silent_for_longer_than_the_window_makes_one_certificate_all_the_same() -> None:
    ledger = Ledger()
    ledger.wake()
    silent = Transient("ReadTimeoutError", "no answer", may_have_happened=True)
    ledger.ca.fail("issue", silent, took_effect=True)
    ledger.ca.fail("issue", silent, times=60)
    ledger.take_csr()
    await ledger.time.advance(3600)
    lapses = [body for body in ledger.bodies if isinstance(body, v.IssuanceAttemptLapsed)]
    assert [lapse.in_doubt for lapse in lapses] == [True]
    assert len(ledger.ca.made) == 1
    assert ledger.count(e.IssuanceAdopted) == ledger.count(e.CertificateIssued) == 1


async def test_a_cancelled_job_whose_call_has_left_yields_a_superseded_certificate() -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.ca.ready_after = timedelta(seconds=5)
    ledger.take_csr()
    await settle()
    (job_id,) = ledger.world.charger.jobs
    ledger.world.command(CancelJob(charger_id="CP-1", job_id=job_id, reason="changed my mind"))
    ledger.tell_changes()
    await ledger.time.advance(10)
    assert [certificate.state for certificate in ledger.certificates] == ["superseded"]


@pytest.mark.parametrize("turns", range(12))
async def test_a_crash_at_any_step_of_a_revocation_revokes_once_and_records_it_once(turns: int) -> None:
    ledger = Ledger()
    ledger.wake()
    ledger.take_csr()
    await settle()
    (certificate,) = ledger.certificates
    ledger.world.command(
        RequestJob(
            job_id="revoke-1",
            charger_id="CP-1",
            purpose="charging_station",
            action="revoke",
            reason="stolen",
            certificate_id=certificate.certificate_id,
            revocation_reason="key_compromise",
        )
    )
    assert ledger.actor is not None
    ledger.actor.abandon()
    ledger.tell_changes()
    await ledger.live(turns)
    await ledger.finish()
    assert [made.revoked_for for made in ledger.ca.made.values()] == ["key_compromise"]
    assert [certificate.state for certificate in ledger.certificates] == ["revoked"]
    assert ledger.count(e.CertificateRevoked) == 1
