"""A certificate authority in memory, and time in a test's hand; both pass the suite of tests/contract/test_ca_aws.py.

`FakeCa` keeps the rules that matter to whoever calls it: the token's window, delayed readiness, errors before and after
the effect, revocation. Limits and circuits are the gateway's, so it has none.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bfactors.audit_report import AuditEntry, ReportRef
from bfactors.ca import (
    AlreadyDone,
    AuthorityDescription,
    CaError,
    IssuedChain,
    MalformedCsr,
    NotActive,
    NotReady,
    Permanent,
    SigningOrder,
    Transient,
)
from bfactors.urgency import Urgency
from bfactors.x509 import MalformedX509, parse_certificates, parse_csr, pem_of
from tests.core import pki

START = datetime(2026, 6, 1, 6, 0, tzinfo=UTC)
WINDOW = timedelta(minutes=5)
ARN = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/1"


class ManualTime:
    """A `Clock` and its sleep; time passes only in `advance`, which lets whoever wakes up go on before it goes on."""

    def __init__(self, start: datetime = START) -> None:
        self.start = start
        self.elapsed_s = 0.0
        self._ids = 0
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.elapsed_s

    def new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    async def sleep(self, duration_s: float) -> None:
        if duration_s <= 0:
            await asyncio.sleep(0)
            return
        self._ids += 1
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.elapsed_s + duration_s, self._ids, waking))
        await waking

    async def advance(self, duration_s: float) -> None:
        target_s = self.elapsed_s + duration_s
        await settle()
        while self._sleeping and self._sleeping[0][0] <= target_s:
            at_s, _, waking = heapq.heappop(self._sleeping)
            self.elapsed_s = max(self.elapsed_s, at_s)
            if not waking.done():
                waking.set_result(None)
                await settle()
        self.elapsed_s = target_s
        await settle()


class LeapingTime(ManualTime):
    """Whoever sleeps makes the time pass at once; `moved` hears by how many seconds."""

    def __init__(self, start: datetime = START, moved: Callable[[float], None] = lambda _: None) -> None:
        super().__init__(start)
        self._moved = moved
        self.slept_s: list[float] = []

    async def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.leap(duration_s)
        await asyncio.sleep(0)

    def leap(self, duration_s: float) -> None:
        self.elapsed_s += duration_s
        self._moved(duration_s)


async def settle(turns: int = 40) -> None:
    """Let the loop run everything that is ready; in memory, forty turns are plenty."""
    for _ in range(turns):
        await asyncio.sleep(0)


class CountedMetrics:
    """Metrics kept as they are told."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[tuple[str, ...], float] = {}
        self.observed: Counter[tuple[str, ...]] = Counter()

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self.counts[name, *labels.values()] += int(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self.gauges[name, *labels.values()] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.observed[name, *labels.values()] += 1


@dataclass(frozen=True)
class Fault:
    """What the next call of an operation meets; `took_effect`: the answer is what is lost, not the call."""

    error: CaError
    took_effect: bool = False


@dataclass
class Made:
    """One certificate of the fake."""

    order: SigningOrder
    chain: IssuedChain
    made_at: datetime
    revoked_for: str | None = None
    revoked_at: datetime | None = None


ONE_REPORT_IN = timedelta(minutes=30)


class FakeCa:
    """`CertificateAuthority`, `Revoker` and `Auditor`. Gives up the loop before and after each effect, as a network does."""

    def __init__(
        self, time: ManualTime, *, arn: str = ARN, ready_after_s: float = 0.0, name: str = "Fleet"
    ) -> None:
        self.arn = arn
        self.time = time
        self.ready_after = timedelta(seconds=ready_after_s)
        self.status = "ACTIVE"
        self.pki = pki.ca(name)
        self.calls: list[tuple[str, str]] = []
        self.orders: list[SigningOrder] = []
        self.hurries: list[tuple[str, bool]] = []
        """Of every fetch and revocation, whether it was to go before everything."""
        self.made: dict[str, Made] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.reports: dict[str, tuple[ReportRef, list[AuditEntry]]] = {}
        self.rewrite: Callable[[IssuedChain], IssuedChain] = lambda chain: chain

    def fail(self, operation: str, error: CaError, *, times: int = 1, took_effect: bool = False) -> None:
        self.faults.setdefault(operation, deque()).extend([Fault(error, took_effect)] * times)

    async def issue(self, order: SigningOrder) -> str:
        if self.time.now() >= order.call_before:
            raise Transient("CallWindowPassed", "the order may not be sent any more")
        self.orders.append(order)
        fault = await self._arrived("issue", order.token)
        self._known(order.authority_arn)
        self._active()
        external_ref = self._same_token(order) or self._make(order)
        await asyncio.sleep(0)
        if fault is not None:
            raise fault.error
        return external_ref

    async def fetch(
        self, authority_arn: str, external_ref: str, *, urgency: Urgency = Urgency.ROUTINE
    ) -> IssuedChain:
        self.hurries.append(("fetch", urgency is Urgency.INCIDENT))
        await self._arrived("fetch", external_ref)
        self._known(authority_arn)
        made = self.made.get(external_ref)
        if made is None:
            raise Permanent("ResourceNotFoundException", "no certificate has this ARN")
        if made.made_at + self.ready_after > self.time.now():
            raise NotReady("RequestInProgressException", "the certificate is still being issued")
        await asyncio.sleep(0)
        return self.rewrite(made.chain)

    async def describe(self, authority_arn: str) -> AuthorityDescription:
        await self._arrived("describe", authority_arn)
        self._known(authority_arn)
        return AuthorityDescription(
            arn=authority_arn,
            status=self.status,
            not_after=pki.END,
            key_algorithm="EC_prime256v1",
            signing_algorithm="SHA256WITHECDSA",
            certificate_pem=self.pki.pem,
            issuers_pem="",
            root_pem=self.pki.root_pem,
        )

    async def revoke(
        self, authority_arn: str, serial_number: str, reason: str, *, is_incident: bool = False
    ) -> None:
        self.hurries.append(("revoke", is_incident))
        fault = await self._arrived("revoke", serial_number)
        self._known(authority_arn)
        self._active()
        for made in self.made.values():
            if parse_certificates(made.chain.leaf_pem)[0].serial_number == f"{int(serial_number, 16):x}":
                if made.revoked_for is not None:
                    raise AlreadyDone("RequestAlreadyProcessedException", "revoked already")
                made.revoked_for = reason
                made.revoked_at = self.time.now()
                await asyncio.sleep(0)
                if fault is not None:
                    raise fault.error
                return
        raise Permanent("ResourceNotFoundException", "this authority issued no certificate of this serial")

    async def report(self, authority_arn: str, since: datetime) -> ReportRef:
        await self._arrived("report", authority_arn)
        self._known(authority_arn)
        now = self.time.now()
        newest = max((ref.created_at for ref, _ in self.reports.values()), default=None)
        for ref, _ in self.reports.values():
            if ref.created_at >= since:
                return ref
        if newest is not None and newest + ONE_REPORT_IN > now:
            left_s = (newest + ONE_REPORT_IN - now).total_seconds()
            raise NotReady("AuditReportTooSoon", "one report in 30 minutes", retry_after_s=left_s)
        made = ReportRef(
            authority_arn=authority_arn,
            report_id=f"report-{len(self.reports) + 1}",
            bucket="audit",
            key=f"{len(self.reports) + 1}.csv",
            created_at=now,
        )
        self.reports[made.report_id] = made, [self._entry(ref, each) for ref, each in self.made.items()]
        await asyncio.sleep(0)
        return made

    async def entries(self, report: ReportRef) -> AsyncGenerator[Sequence[AuditEntry], None]:
        _, rows = self.reports[report.report_id]
        for begin in range(0, len(rows), 2):
            await asyncio.sleep(0)
            yield rows[begin : begin + 2]

    def _entry(self, external_ref: str, made: Made) -> AuditEntry:
        leaf = parse_certificates(made.chain.leaf_pem)[0]
        return AuditEntry(
            external_ref=external_ref,
            serial_number=leaf.serial_number,
            subject=leaf.subject,
            template=made.order.template,
            not_before=leaf.not_before,
            not_after=leaf.not_after,
            issued_at=made.made_at,
            revoked_at=made.revoked_at,
            revocation_reason=made.revoked_for,
        )

    async def _arrived(self, operation: str, about: str) -> Fault | None:
        """A fault that lets the call take effect; raises one that does not."""
        await asyncio.sleep(0)
        self.calls.append((operation, about))
        waiting = self.faults.get(operation)
        if not waiting:
            return None
        fault = waiting.popleft()
        if not fault.took_effect:
            raise fault.error
        return fault

    def _known(self, arn: str) -> None:
        if arn != self.arn:
            raise Permanent("ResourceNotFoundException", "no certificate authority has this ARN")

    def _active(self) -> None:
        if self.status != "ACTIVE":
            raise NotActive(
                "InvalidStateException", f"the certificate authority is {self.status}", retry_after_s=30.0
            )

    def _same_token(self, order: SigningOrder) -> str | None:
        for external_ref, made in self.made.items():
            if made.order.token == order.token and made.made_at + WINDOW > self.time.now():
                return external_ref
        return None

    def _make(self, order: SigningOrder) -> str:
        try:
            csr_pem = pem_of(parse_csr(order.csr_pem).der, "CERTIFICATE REQUEST")
        except MalformedX509:
            raise MalformedCsr("MalformedCSRException", "the CSR cannot be read") from None
        usages = () if order.template.startswith("Blank") else ("client",)
        signed = self.pki.sign(csr_pem, order.not_before, order.not_after, usages=usages)
        leaf, issuing = parse_certificates(signed)
        external_ref = f"{self.arn}/certificate/{leaf.serial_number}"
        chain = IssuedChain(leaf_pem=pem_of(leaf.der), issuers_pem=pem_of(issuing.der) + self.pki.root_pem)
        self.made[external_ref] = Made(order, chain, self.time.now())
        return external_ref
