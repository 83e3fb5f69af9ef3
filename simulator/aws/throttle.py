"""Request quotas: one token bucket per operation for the whole account, as AWS counts them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.aws.clock import PeerClock
from simulator.aws.service_error import ServiceError


@dataclass
class _Bucket:
    tokens: float
    filled_at_s: float


@dataclass(frozen=True)
class Throttle:
    """Buckets that hold one second's worth of calls (at least one) and refill on the peer's clock."""

    quotas_per_s: Mapping[str, float]
    clock: PeerClock
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def spend(self, operation: str) -> None:
        """Take one call out of the operation's bucket; operations without a quota are free.

        Raises: ServiceError ThrottlingException when the bucket is empty.
        """
        rate = self.quotas_per_s.get(operation)
        if rate is None:
            return
        now_s, size = self.clock.timestamp(), max(1.0, rate)
        bucket = self._buckets.setdefault(operation, _Bucket(size, now_s))
        elapsed_s = max(0.0, now_s - bucket.filled_at_s)
        bucket.tokens = min(size, bucket.tokens + elapsed_s * rate)
        bucket.filled_at_s = now_s
        if bucket.tokens < 1:
            raise ServiceError("ThrottlingException", "Rate exceeded")
        bucket.tokens -= 1
