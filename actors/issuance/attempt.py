"""One issue effect, from the call to the certificate; every step leaves a fact that the next life can go on from."""

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from actors.issuance.hold import Hold
from actors.issuance.message import CarriedOut
from actors.issuance.patience import Interrupted, Patience
from actors.issuance.ports import IssuancePorts
from actors.issuance.record import record
from actors.issuance.returned import completed
from actors.issuance.turn import urgency_of_effect
from bfactors.ca import (
    CaError,
    NotActive,
    NotReady,
    QuotaExhausted,
    SigningOrder,
    Transient,
    next_delay_s,
)
from bfactors.effect import IssueCertificate
from bfactors.evidence import (
    EvidenceBody,
    IssuanceAttemptLapsed,
    IssuanceDelayed,
    IssuanceRefused,
    IssuanceRequested,
)
from bfactors.purpose import purpose

_LOG = logging.getLogger(__name__)

CALL_RETRY_BASE_S = 0.5
CALL_RETRY_LONGEST_S = 20.0
SHOWN_AFTER_FAILURES = 3
BOUNDED_FAILURES = 5


@dataclass(frozen=True, slots=True)
class _Pace:
    """How often GetCertificate is sent: the waits double from the first to the longest."""

    first_s: float
    longest_s: float
    within_s: float


_QUICKLY = _Pace(first_s=0.2, longest_s=2.0, within_s=60.0)
_PATIENTLY = _Pace(first_s=5.0, longest_s=60.0, within_s=math.inf)
_REPEATABLE = (Transient, NotReady, QuotaExhausted, NotActive)


@dataclass(frozen=True, slots=True)
class Attempt:
    """`lived_through`: this actor has had the effect since it was decided, so no one else can have called for it.

    `is_settled` tells whether the ledger has given it up meanwhile.
    """

    effect: IssueCertificate
    ports: IssuancePorts
    hold: Hold
    patience: Patience
    lived_through: bool
    is_settled: Callable[[], bool]

    async def carry_out(self) -> CarriedOut:
        """Call, record the reference, fetch for a while."""
        effect = self.effect
        try:
            external_ref = effect.external_ref or await self._ask()
        except Interrupted:
            external_ref = None
        if external_ref is None:
            return CarriedOut(effect.effect_id, has_lapsed=True)
        is_done = await self._fetch(external_ref, _QUICKLY, self.ports.sleep)
        return CarriedOut(effect.effect_id, None if is_done else external_ref)

    async def wait_for(self, external_ref: str) -> CarriedOut:
        """Ask on for a certificate the CA has not finished in time; never for another one."""
        with suppress(Interrupted):
            await self._fetch(external_ref, _PATIENTLY, self.patience.wait)
        return CarriedOut(self.effect.effect_id)

    # ------------------------------------------------------------ IssueCertificate

    async def _ask(self) -> str | None:
        """The CA's name for the certificate, recorded; None when this attempt has come to its end without one."""
        effect, ports = self.effect, self.ports
        in_doubt = not self.lived_through
        failures = bounded = 0
        delay_s = 0.0
        while await self._may_call():
            if self.is_settled() and not in_doubt:
                return None  # nobody wants it, and no call has left
            try:
                external_ref = await ports.authority.issue(order_of(effect, ports.clock.now()))
            except _REPEATABLE as error:
                in_doubt = in_doubt or error.may_have_happened
                failures += 1
                bounded += isinstance(error, Transient) and error.bounded
                if bounded >= BOUNDED_FAILURES:
                    await self._refused(error)
                    return None
                if failures == SHOWN_AFTER_FAILURES or error.retry_after_s is not None:
                    await self._delayed(error.code, error.message)
                delay_s = next_delay_s(
                    delay_s, base_s=CALL_RETRY_BASE_S, longest_s=CALL_RETRY_LONGEST_S, uniform=ports.uniform
                )
                await self._wait(error, delay_s)
            except CaError as error:
                await self._refused(error)
                return None
            else:
                self.hold.lift()
                requested = IssuanceRequested(
                    job_id=effect.job_id, attempt=effect.attempt, external_ref=external_ref
                )
                await self._record(requested)
                return external_ref
        await self._record(
            IssuanceAttemptLapsed(job_id=effect.job_id, attempt=effect.attempt, in_doubt=in_doubt)
        )
        return None

    async def _may_call(self) -> bool:
        """Whether there is still time for a call. Waits while the CA is held, past that time too: a new attempt would
        meet the same closed door, and every attempt is a decision in the ledger.
        """
        clock = self.ports.clock
        while left_s := self.hold.left_s(clock.monotonic()):
            await self.patience.wait(left_s)
        return clock.now() < self.effect.call_before

    async def _wait(self, error: CaError, delay_s: float) -> None:
        """Until the next call, or the end of the time for calls."""
        ports = self.ports
        if isinstance(error, QuotaExhausted | NotActive):
            self.hold.extend(ports.clock.monotonic(), error.retry_after_s or CALL_RETRY_LONGEST_S)
            return
        left = (self.effect.call_before - ports.clock.now()).total_seconds()
        await ports.sleep(max(0.0, min(left, max(delay_s, error.retry_after_s or 0.0))))

    # ------------------------------------------------------------ GetCertificate

    async def _fetch(
        self, external_ref: str, pace: _Pace, sleep: Callable[[float], Awaitable[object]]
    ) -> bool:
        """Whether it has been recorded, as a certificate or as a refusal; False once the pace's time has passed."""
        ports = self.ports
        began_s = ports.clock.monotonic()
        delay_s = pace.first_s
        while True:
            try:
                urgency = urgency_of_effect(self.effect, ports.clock.now())
                chain = await ports.authority.fetch(self.effect.authority_arn, external_ref, urgency=urgency)
            except _REPEATABLE as error:
                if ports.clock.monotonic() - began_s >= pace.within_s:
                    await self._delayed(error.code, f"{external_ref} is not finished: {error.message}")
                    return False
                await sleep(max(delay_s, error.retry_after_s or 0.0))
                delay_s = min(pace.longest_s, delay_s * 2)
            except CaError as error:
                await self._refused(error)
                return True
            else:
                await self._record(completed(self.effect, external_ref, chain))
                return True

    # ------------------------------------------------------------ facts

    async def _record(self, body: EvidenceBody, *distinct: str) -> None:
        await record(self.ports, self.effect, body, *distinct)

    async def _refused(self, error: CaError) -> None:
        effect = self.effect
        _LOG.warning("the CA refused %s: %s", effect.effect_id, error)
        await self._record(
            IssuanceRefused(
                job_id=effect.job_id, attempt=effect.attempt, code=error.code, message=error.message
            )
        )

    async def _delayed(self, code: str, message: str) -> None:
        """Once for each code: it is shown to operators, and said twice it tells them nothing."""
        effect = self.effect
        await self._record(
            IssuanceDelayed(job_id=effect.job_id, attempt=effect.attempt, code=code, message=message), code
        )


def order_of(effect: IssueCertificate, now: datetime) -> SigningOrder:
    """What the CA is asked, from the effect alone: every life asks the same. Only where it queues depends on the time."""
    return SigningOrder(
        authority_arn=effect.authority_arn,
        token=effect.token,
        csr_pem=effect.csr_pem,
        template=effect.template,
        signing_algorithm=effect.signing_algorithm,
        not_before=effect.not_before,
        not_after=effect.not_after,
        call_before=effect.call_before,
        key_usage=purpose(effect.purpose).key_usage,
        urgency=urgency_of_effect(effect, now),
    )
