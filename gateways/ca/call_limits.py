"""How many calls a second each operation of AWS Private CA may see from us, below the account's quotas."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from gateways.ca.token_bucket import TokenBucket, Turnstile

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

ISSUE_CALLS_PER_S = 15.0
_KEPT_BACK_SHARE = 0.25


class CallLimits:
    """One turnstile per operation; to be shared by every gateway to the same account and region. One loop only.

    `issue_calls_per_s` sets the share of the quota that is used, for the other operations alike. Half a second's worth
    may leave at once, a quarter of that is kept back for emergencies.
    """

    def __init__(
        self,
        issue_calls_per_s: float = ISSUE_CALLS_PER_S,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        share = issue_calls_per_s / QUOTAS_PER_S["IssueCertificate"]
        self._turnstiles = {
            operation: Turnstile(_bucket(quota * share), monotonic, sleep)
            for operation, quota in QUOTAS_PER_S.items()
        }

    async def enter(self, operation: str, *, emergency: bool = False) -> None:
        """Returns when a call of this operation may leave."""
        await self._turnstiles[operation].enter(emergency=emergency)


def _bucket(rate_per_s: float) -> TokenBucket:
    burst = max(2.0, rate_per_s / 2)
    return TokenBucket(rate_per_s, burst=burst, kept_back=min(burst - 1.0, burst * _KEPT_BACK_SHARE))
