"""Ten thousand renewals that are due at once, two nodes, a CA at 25 calls a second: nobody is throttled, no call wasted."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from actors.issuance import IssuanceActor, IssuancePorts, Settled, Wanted
from actors.issuance.actor import ISSUING_AT_ONCE
from actors.renewal import RenewalActor, RenewalPorts, pace_of
from bfactors import evidence as v
from bfactors.ca import AuthorityDescription, IssuedChain, SigningOrder, Transient
from bfactors.call_bucket import BucketSize
from bfactors.command import CommandAnswer, CommandEnvelope, RequestJob
from bfactors.effect import IssueCertificate, StartRenewal
from bfactors.urgency import Urgency
from gateways.ca.call_limits import CallLimits
from gateways.ca.token_bucket import TokenBucket
from gateways.ca.turnstile import HELD_FOR_S
from tests.core import pki
from tests.fakes.ca import ARN, CountedMetrics, ManualTime, settle
from tests.fakes.call_bucket import FakeCallBucket

QUOTA_PER_S = 25.0
RATE_PER_S = 20.0
CSR = pki.csr("SN-1")


class ThrottlingCa:
    """Signs nothing: one certificate for everybody. Throttles as AWS does, a second's worth at once."""

    def __init__(self, time: ManualTime) -> None:
        self._time = time
        self._quota = TokenBucket(BucketSize(rate_per_s=QUOTA_PER_S, burst=QUOTA_PER_S))
        self.made: dict[str, str] = {}
        self.calls_at_s: list[float] = []
        self.order: list[str] = []
        self.throttled = 0
        self.is_away = False
        chain = pki.ca().sign(CSR, time.now(), time.now() + timedelta(days=90))
        self._chain = IssuedChain(leaf_pem=chain, issuers_pem="")

    async def issue(self, order: SigningOrder) -> str:
        await asyncio.sleep(0)
        self.calls_at_s.append(self._time.elapsed_s)
        self.order.append(order.token)
        if self.is_away:
            raise Transient("EndpointConnectionError", "away")
        if not self._quota.take(self._time.monotonic(), 1, 0.0).calls:
            self.throttled += 1
            raise Transient("ThrottlingException", "Rate exceeded")
        return self.made.setdefault(order.token, f"{ARN}/certificate/{len(self.made)}")

    async def fetch(
        self, authority_arn: str, external_ref: str, *, urgency: Urgency = Urgency.ROUTINE
    ) -> IssuedChain:
        await asyncio.sleep(0)
        return self._chain

    async def describe(self, authority_arn: str) -> AuthorityDescription:
        raise NotImplementedError


class Node:
    """A core node's gateway: the CA behind the limits that all nodes share."""

    def __init__(self, ca: ThrottlingCa, bucket: FakeCallBucket, time: ManualTime) -> None:
        self._ca = ca
        self._time = time
        self._limits = CallLimits(RATE_PER_S, monotonic=time.monotonic, sleep=time.sleep)
        self._limits.share(bucket, CountedMetrics())

    async def issue(self, order: SigningOrder) -> str:
        await self._limits.enter(order.authority_arn, "IssueCertificate", order.urgency)
        if self._time.now() >= order.call_before:
            raise Transient("CallWindowPassed", "the order may not be sent any more")
        return await self._ca.issue(order)

    async def fetch(
        self, authority_arn: str, external_ref: str, *, urgency: Urgency = Urgency.ROUTINE
    ) -> IssuedChain:
        await self._limits.enter(authority_arn, "GetCertificate", urgency)
        return await self._ca.fetch(authority_arn, external_ref)

    async def describe(self, authority_arn: str) -> AuthorityDescription:
        return await self._ca.describe(authority_arn)

    async def room_s(self, authority_arn: str, urgency: Urgency) -> float:
        return await self._limits.wait_s(authority_arn, "IssueCertificate", urgency)


class Storm:
    """The due work, a ledger small enough for ten thousand of it, and the nodes that carry it out."""

    def __init__(self, nodes: int = 2) -> None:
        self.time = ManualTime()
        self.ca = ThrottlingCa(self.time)
        self.bucket = FakeCallBucket(self.time.monotonic)
        self.owed: dict[str, IssueCertificate] = {}
        self.done: dict[str, float] = {}
        self.lapses = 0
        self.failures: list[BaseException] = []
        self.actors = [self._actor() for _ in range(nodes)]

    def _actor(self) -> IssuanceActor:
        ports = IssuancePorts(
            authority=Node(self.ca, self.bucket, self.time),
            revoker=None,
            evidence=self,
            clock=self.time,
            metrics=CountedMetrics(),
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
        )
        actor = IssuanceActor("charging_station", ports)
        actor.start(lambda _, error, __: self.failures.append(error))
        return actor

    def due(self, job_id: str, **changes: object) -> None:
        """A renewal whose CSR is here, decided now."""
        self._want(self._attempt(job_id, 1, changes))

    def _attempt(self, job_id: str, attempt: int, changes: Mapping[str, object]) -> IssueCertificate:
        now = self.time.now()
        values: dict[str, object] = {
            "effect_id": f"{job_id}:{attempt}",
            "charger_id": job_id,
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
            "not_before": now,
            "not_after": now + timedelta(days=90),
            "call_before": now + timedelta(minutes=4),
        }
        return IssueCertificate(**(values | changes))  # type: ignore[arg-type]

    def _want(self, effect: IssueCertificate) -> None:
        self.owed[effect.job_id] = effect
        self._owner(effect.job_id).tell(Wanted(effect))

    def _owner(self, job_id: str) -> IssuanceActor:
        return self.actors[sum(job_id.encode()) % len(self.actors)]

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        await asyncio.sleep(0)
        match evidence.body:
            case v.IssuanceRequested(job_id=job_id, external_ref=external_ref):
                self._want(replace(self.owed[job_id], external_ref=external_ref))
            case v.IssuanceCompleted(job_id=job_id):
                self.done[job_id] = self.time.elapsed_s
                self._owner(job_id).tell(Settled(self.owed.pop(job_id).effect_id))
            case v.IssuanceAttemptLapsed(job_id=job_id, attempt=attempt, in_doubt=in_doubt):
                assert not in_doubt, "every call was answered"
                self.lapses += 1
                lapsed = self.owed[job_id]
                self._owner(job_id).tell(Settled(lapsed.effect_id))
                kept = {"replaces_until": lapsed.replaces_until, "is_incident": lapsed.is_incident}
                self._want(self._attempt(job_id, attempt + 1, kept))
            case _:
                pass

    def most_within(self, span_s: float) -> int:
        """The most calls in any span of that length."""
        at_s = self.ca.calls_at_s
        return max(bisect_right(at_s, first + span_s) - begin for begin, first in enumerate(at_s))


def never_above_the_bucket(storm: Storm) -> None:
    size = BucketSize.of_rate(RATE_PER_S)
    for span_s in (0.0, 0.5, 1.0, 5.0, 60.0):
        assert storm.most_within(span_s) <= size.burst + RATE_PER_S * (span_s + HELD_FOR_S)
    assert storm.ca.throttled == 0
    assert storm.failures == []


async def until_done(storm: Storm, longest_s: float) -> None:
    while storm.owed and storm.time.elapsed_s < longest_s:
        await storm.time.advance(5)
    assert not storm.owed


async def weather(due: int) -> Storm:
    """All due at once; meanwhile some end soon, and one is an incident."""
    storm = Storm()
    for number in range(due):
        storm.due(f"job-{number}")
    await storm.time.advance(10)
    soon = storm.time.now() + timedelta(days=3)
    for number in range(due // 100):
        storm.due(f"soon-{number}", replaces_until=soon)
    storm.due("incident", is_incident=True)
    await until_done(storm, longest_s=due / RATE_PER_S * 1.2 + 60)
    return storm


async def test_five_hundred_due_renewals_are_made_below_the_bucket_and_each_is_asked_for_once() -> None:
    storm = await weather(500)
    never_above_the_bucket(storm)
    assert len(storm.ca.calls_at_s) == len(storm.ca.made) == len(storm.done) == 506
    assert storm.done["incident"] <= 11, "it waits for nobody"
    last_soon = max(at for job, at in storm.done.items() if job.startswith("soon"))
    assert last_soon <= 13, "they pass the queue"


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_ten_thousand_due_renewals_are_made_below_the_bucket_with_no_call_to_spare() -> None:
    storm = await weather(10_000)
    never_above_the_bucket(storm)
    due = len(storm.done)
    assert due == 10_101
    assert len(storm.ca.calls_at_s) <= due * 1.01
    assert len(storm.ca.made) == due
    assert storm.done["incident"] <= 11
    took_s = max(storm.done.values())
    assert took_s <= due / RATE_PER_S * 1.1
    print(
        f"{due} in {took_s:.0f} s, {len(storm.ca.calls_at_s)} calls, {storm.lapses} attempts lapsed unsent,"
    )
    print(f"{storm.most_within(1.0)} calls in a second at most, {storm.bucket.asked} questions to the bucket")


class RenewalDoor:
    """The ledger and its chargers: a renewal that is asked for has its CSR at the CA's door at once."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self.started: dict[str, float] = {}
        self.ends: dict[str, datetime] = {}

    async def serve(self, partition: int, handle: object) -> None:
        raise NotImplementedError

    async def withdraw(self, partition: int) -> None:
        raise NotImplementedError

    async def request(self, partition: int, command: CommandEnvelope) -> CommandAnswer:
        assert isinstance(command.body, RequestJob)
        job_id = command.body.job_id
        self.started[job_id] = self._storm.time.elapsed_s
        self._storm.due(job_id, replaces_until=self.ends[job_id])
        return CommandAnswer()


async def test_while_an_incident_uses_what_the_ca_takes_no_renewal_is_started() -> None:
    """Incident, then what ends within 7 days, then routine: in the queues, at the bucket, and in who starts at all."""
    storm = Storm()
    door = RenewalDoor(storm)
    node = Node(storm.ca, storm.bucket, storm.time)
    ports = RenewalPorts(
        commands=door, clock=storm.time, metrics=CountedMetrics(), sleep=storm.time.sleep, room_s=node.room_s
    )
    renewals = RenewalActor("charging_station", ports, per_minute=pace_of(RATE_PER_S, 1))
    renewals.start(lambda _, error, __: storm.failures.append(error))

    def due(name: str, ends_in: timedelta) -> None:
        door.ends[name] = storm.time.now() + ends_in
        effect = StartRenewal(
            effect_id=f"{name}:renew",
            charger_id=name,
            purpose="charging_station",
            certificate_id=name,
            job_id=name,
            due_reason="renewal-window",
            replaces_until=door.ends[name],
            authority_arn=ARN,
        )
        assert renewals.tell(Wanted(effect))

    for number in range(300):
        due(f"routine-{number}", timedelta(days=40))
    await storm.time.advance(10)
    before = len(door.started)
    assert before >= 40, "without an incident they go at their pace"
    for number in range(400):
        storm.due(f"incident-{number}", is_incident=True)
    await storm.time.advance(5)
    for number in range(20):
        due(f"soon-{number}", timedelta(days=3))
    while len([job for job in storm.done if job.startswith("incident")]) < 400:
        await storm.time.advance(1)
    over_s = max(at for job, at in storm.done.items() if job.startswith("incident"))
    assert over_s <= 10 + 400 / RATE_PER_S * 1.1 + 1, "the whole budget is the incident's"
    meanwhile = [job for job, at in door.started.items() if 11 <= at < over_s - 1]
    assert meanwhile == []
    called = [
        token for token, at in zip(storm.ca.order, storm.ca.calls_at_s, strict=True) if 11 <= at < over_s - 1
    ]
    assert {token.partition("-")[0] for token in called} == {"incident"}
    while len(storm.done) < 720:
        await storm.time.advance(5)
    later = sorted((at, job) for job, at in door.started.items() if at >= over_s - 1)
    assert all(job.startswith("soon") for _, job in later[:20])
    assert later[0][0] <= over_s + 3, "and what waited goes on at once"
    never_above_the_bucket(storm)


async def test_when_a_ca_comes_back_its_return_is_no_storm() -> None:
    """Away for longer than an attempt lasts: what waited is asked for at the same pace, each of it once more."""
    storm = Storm()
    storm.ca.is_away = True
    for number in range(200):
        storm.due(f"job-{number}")
    await storm.time.advance(1800)
    assert not storm.ca.made
    storm.ca.is_away = False
    back_at_s, before = storm.time.elapsed_s, len(storm.ca.calls_at_s)
    await until_done(storm, longest_s=back_at_s + 120)
    assert len(storm.ca.calls_at_s) - before == 200
    never_above_the_bucket(storm)
    await settle()


async def test_after_an_outage_what_has_come_to_end_soon_meanwhile_is_made_first() -> None:
    """Routine when it was decided, and by the end of the outage inside the last week."""
    storm = Storm()
    storm.ca.is_away = True
    for number in range(300):
        in_time = timedelta(days=7, hours=1) if number % 10 == 9 else timedelta(days=30)
        name = "soon" if number % 10 == 9 else "routine"
        storm.due(f"{name}-{number}", replaces_until=storm.time.now() + in_time)
    await storm.time.advance(2 * 3600)
    storm.ca.is_away = False
    await until_done(storm, longest_s=storm.time.elapsed_s + 300)
    never_above_the_bucket(storm)
    last_soon = max(at for job, at in storm.done.items() if job.startswith("soon"))
    earlier = sum(1 for job, at in storm.done.items() if job.startswith("routine") and at < last_soon)
    assert earlier <= ISSUING_AT_ONCE * 2, "but for those that were at the CA's door already"
