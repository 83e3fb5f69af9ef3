"""How many calls a second each operation of AWS Private CA may see from all our nodes, below the account's quotas."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from bfactors.call_bucket import BucketSize
from bfactors.errors import Unavailable
from bfactors.ports import CallBucket, Metrics
from bfactors.urgency import Urgency
from gateways.ca.token_bucket import TokenBucket
from gateways.ca.turnstile import Turnstile

_LOG = logging.getLogger(__name__)

QUOTAS_PER_S: Mapping[str, float] = MappingProxyType(
    {
        "IssueCertificate": 25.0,
        "GetCertificate": 75.0,
        "RevokeCertificate": 20.0,
        "DescribeCertificateAuthority": 20.0,
        "GetCertificateAuthorityCertificate": 20.0,
        "CreateCertificateAuthorityAuditReport": 1.0,
        "DescribeCertificateAuthorityAuditReport": 20.0,
    }
)
"""Defaults of an account in one region. Source: facts on AWS Private CA 3.3."""

ISSUE_CALLS_PER_S = 20.0
CUT_OFF_SHARE = 0.05
"""What one node takes of the rate when it cannot reach the others' bucket: four such nodes fit into the fifth of the quota
that is left free."""
AWAY_FOR_S = 5.0
"""How long a bucket that did not answer is left alone."""


class CallLimits:
    """To be shared by every gateway of a process. One loop only.

    `issue_calls_per_s` sets the share of the quota that is used, for the other operations alike. Until `share` is called
    the bucket is this process's own.
    """

    def __init__(
        self,
        issue_calls_per_s: float = ISSUE_CALLS_PER_S,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._share = issue_calls_per_s / QUOTAS_PER_S["IssueCertificate"]
        self._monotonic = monotonic
        self._sleep = sleep
        self._turnstiles: dict[tuple[str, str], Turnstile] = {}
        self._bucket: CallBucket | None = None
        self._metrics: Metrics | None = None
        self._away_until_s = 0.0
        self._is_cut_off = False

    def share(self, bucket: CallBucket, metrics: Metrics) -> None:
        """From now on take calls from the bucket of all nodes."""
        self._bucket = bucket
        self._metrics = metrics
        metrics.gauge("bf_ca_bucket_cut_off", 0.0)

    async def enter(self, authority_arn: str, operation: str, urgency: Urgency) -> None:
        """Returns when a call of this operation may leave."""
        await self._turnstile(authority_arn, operation).enter(urgency)

    async def wait_s(self, authority_arn: str, operation: str, urgency: Urgency) -> float:
        """In how many seconds a call may find room if nobody else takes it; 0: it would now. Takes none."""
        return await self._turnstile(authority_arn, operation).wait_s(urgency)

    def _turnstile(self, authority_arn: str, operation: str) -> Turnstile:
        key = (scope_of(authority_arn), operation)
        turnstile = self._turnstiles.get(key)
        if turnstile is None:
            turnstile = self._turnstiles[key] = self._made(*key)
        return turnstile

    def _made(self, scope: str, operation: str) -> Turnstile:
        rate = QUOTAS_PER_S[operation] * self._share
        size = BucketSize.of_rate(rate)
        alone = TokenBucket(size)
        cut_off = TokenBucket(BucketSize.of_rate(rate * CUT_OFF_SHARE))

        async def take(wanted: int, urgency: Urgency) -> tuple[int, float]:
            kept_back = size.kept_back(urgency)
            if self._bucket is None:
                grant = alone.take(self._monotonic(), wanted, kept_back)
                return grant.calls, size.wait_s(urgency, grant.left)
            if self._monotonic() >= self._away_until_s:
                try:
                    grant = await self._bucket.take(
                        scope, operation, size=size, wanted=wanted, kept_back=kept_back
                    )
                except Unavailable as away:
                    self._lost(away)
                else:
                    self._reached()
                    return grant.calls, size.wait_s(urgency, grant.left)
            grant = cut_off.take(self._monotonic(), wanted, cut_off.size.kept_back(urgency))
            return grant.calls, cut_off.size.wait_s(urgency, grant.left)

        return Turnstile(take, int(size.burst), self._monotonic, self._sleep)

    def _lost(self, away: Unavailable) -> None:
        self._away_until_s = self._monotonic() + AWAY_FOR_S
        if not self._is_cut_off:
            _LOG.warning("calls to the CA are taken from a small share of our own: %s", away)
        self._show(True)

    def _reached(self) -> None:
        if self._is_cut_off:
            _LOG.info("calls to the CA are taken from the bucket of all nodes again")
            self._show(False)

    def _show(self, is_cut_off: bool) -> None:
        self._is_cut_off = is_cut_off
        if self._metrics is not None:
            self._metrics.gauge("bf_ca_bucket_cut_off", float(is_cut_off))


def scope_of(authority_arn: str) -> str:
    """The account and region whose quota a CA's calls count against; what is no ARN stands for itself."""
    parts = authority_arn.split(":")
    return f"{parts[4]}/{parts[3]}" if len(parts) >= 6 else authority_arn
