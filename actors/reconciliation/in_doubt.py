"""What became of attempts that lapsed with a call on its way: one report of the CA answers for all that wait for it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from actors.issuance.patience import Patience
from actors.issuance.record import record
from actors.reconciliation.ports import ReconciliationPorts
from actors.reconciliation.report import NO_REPORT, PASSING, Backoff, ReportNotHad
from actors.reconciliation.search import search
from bfactors.audit_report import ReportRef, tells_from
from bfactors.ca import CaError
from bfactors.charger.reconciliation import AWAITING
from bfactors.effect import ReconcileIssuance
from bfactors.errors import Unavailable
from bfactors.evidence import IssuanceDelayed, IssuanceReconciled, IssuanceUnreconciled
from bfactors.ports import Auditor

_LOG = logging.getLogger(__name__)

GATHER_WITHIN = timedelta(minutes=4)
"""A crash leaves attempts of one call window: waiting for its end lets one report answer for all of them."""


@dataclass(frozen=True, slots=True)
class Round:
    """One report of one CA and everyone it answers for.

    `waiting` gives the effects that are still wanted; `answered` is told whose answer is recorded.
    """

    ports: ReconciliationPorts
    patience: Patience
    purpose: str
    waiting: Callable[[], list[ReconcileIssuance]]
    answered: Callable[[ReconcileIssuance], None]

    async def carry_out(self) -> None:
        """Returns when those who waited at the time of the report, or of its failure, are answered. Raises Interrupted."""
        auditor = self.ports.auditor
        if auditor is None:
            await self._unreconciled(self.waiting(), NO_REPORT, "this CA offers no audit report")
            return
        backoff = Backoff(self.ports)
        while effects := self.waiting():
            since = _since(effects)
            await self._until(since)
            try:
                try:
                    report = await auditor.report(effects[0].authority_arn, since)
                    await self._answer(auditor, report)
                except PASSING as error:
                    wait_s = backoff.wait_s(error)
                    await self._delayed(error, wait_s)
                    await self.patience.wait(wait_s)
                else:
                    return
            except (CaError, ReportNotHad) as problem:
                message = problem.message if isinstance(problem, CaError) else str(problem)
                await self._unreconciled(self.waiting(), problem.code, message)
                return

    async def _until(self, since: datetime) -> None:
        left_s = (since - self.ports.clock.now()).total_seconds()
        if left_s > 0:
            await self.patience.wait(left_s)

    async def _answer(self, auditor: Auditor, report: ReportRef) -> None:
        ports = self.ports
        told = [effect for effect in self.waiting() if tells_from(effect) <= report.created_at]
        found = await search(ports, auditor, report, told, self.patience.wait)
        for effect in told:
            external_ref = found.get(effect.effect_id)
            fact = IssuanceReconciled(
                job_id=effect.job_id,
                attempt=effect.attempt,
                external_ref=external_ref,
                report_ref=report.report_id,
                report_at=report.created_at,
            )
            await record(ports, effect, fact)
            self.answered(effect)
            self._count("absent" if external_ref is None else "found")

    async def _unreconciled(self, effects: list[ReconcileIssuance], code: str, message: str) -> None:
        for effect in effects:
            _LOG.warning("%s cannot be reconciled: %s: %s", effect.effect_id, code, message)
            fact = IssuanceUnreconciled(
                job_id=effect.job_id, attempt=effect.attempt, code=code, message=message
            )
            await record(self.ports, effect, fact)
            self.answered(effect)
            self._count("unreconciled")

    async def _delayed(self, error: CaError | Unavailable, wait_s: float) -> None:
        """Say once to each what it waits for and until when."""
        until = self.ports.clock.now() + timedelta(seconds=wait_s)
        why = error.code if isinstance(error, CaError) else type(error).__name__
        message = f"waiting for the CA's audit report, asked for again at {until:%H:%M:%S} UTC: {error}"
        for effect in self.waiting():
            fact = IssuanceDelayed(
                job_id=effect.job_id, attempt=effect.attempt, code=AWAITING, message=message
            )
            await record(self.ports, effect, fact, why)

    def _count(self, outcome: str) -> None:
        self.ports.metrics.count("bf_issuance_reconciled_total", purpose=self.purpose, outcome=outcome)


def _since(effects: list[ReconcileIssuance]) -> datetime:
    """From when on a report answers for all, or for those who have waited long enough."""
    moments = [tells_from(effect) for effect in effects]
    return min(max(moments), min(moments) + GATHER_WITHIN)
