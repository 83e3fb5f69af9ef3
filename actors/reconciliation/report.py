"""A report of the CA, waited for within reason."""

from datetime import datetime, timedelta

from actors.issuance.patience import Patience
from actors.reconciliation.ports import ReconciliationPorts
from bfactors.audit_report import ReportRef
from bfactors.ca import CaError, NotActive, NotReady, QuotaExhausted, Transient, next_delay_s
from bfactors.errors import BetterFleetError, Unavailable
from bfactors.ports import Auditor

GIVE_UP_AFTER = timedelta(hours=2)
"""A CA that has given no report for so long is taken for one that gives none now."""
RETRY_BASE_S = 5.0
RETRY_LONGEST_S = 300.0
NO_REPORT = "no-audit-report"
PASSING = (Transient, NotReady, QuotaExhausted, NotActive, Unavailable)


class ReportNotHad(BetterFleetError):
    """There is no report, or none came in time."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Backoff:
    """How long to wait after one failure after another, until it is time to give up."""

    __slots__ = ("_began_at", "_delay_s", "_ports")

    def __init__(self, ports: ReconciliationPorts) -> None:
        self._ports = ports
        self._began_at = ports.clock.now()
        self._delay_s = 0.0

    def wait_s(self, error: CaError | Unavailable) -> float:
        """Raises ReportNotHad when it has lasted too long."""
        if self._ports.clock.now() - self._began_at >= GIVE_UP_AFTER:
            raise ReportNotHad(NO_REPORT, f"no report in time: {error}")
        self._delay_s = next_delay_s(
            self._delay_s, base_s=RETRY_BASE_S, longest_s=RETRY_LONGEST_S, uniform=self._ports.uniform
        )
        told_s = error.retry_after_s if isinstance(error, CaError) else None
        return max(self._delay_s, told_s or 0.0)


async def report_patiently(
    ports: ReconciliationPorts, patience: Patience, auditor: Auditor, authority_arn: str, since: datetime
) -> ReportRef:
    """Raises ReportNotHad, Interrupted, and what of `bfactors.ca` does not pass."""
    backoff = Backoff(ports)
    while True:
        try:
            return await auditor.report(authority_arn, since)
        except PASSING as error:
            await patience.wait(backoff.wait_s(error))
