"""One bucket of calls for all nodes: what a taker leaves to those who are in a greater hurry. Pure."""

import msgspec

from bfactors.urgency import Urgency


class Grant(msgspec.Struct, frozen=True):
    """`calls` may leave now; `left` tokens are in the bucket after them."""

    calls: int
    left: float


class BucketSize(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket that fills at `rate_per_s` and holds `burst` at most.

    What may be called within any time t is `burst + rate_per_s * t`, whoever calls.
    """

    rate_per_s: float
    burst: float

    @classmethod
    def of_rate(cls, rate_per_s: float) -> "BucketSize":
        """Half a second's worth at once, and never less than two calls."""
        if rate_per_s <= 0:
            raise ValueError("a bucket needs a rate")
        return cls(rate_per_s=rate_per_s, burst=max(2.0, rate_per_s / 2))

    def kept_back(self, urgency: Urgency) -> float:
        """Incidents empty the bucket, the others leave a quarter or half of it, and always room for one of their own.

        Whoever is in no hurry thus waits while more urgent callers keep it low.
        """
        return min(self.burst - 1.0, self.burst * _LEFT[urgency])

    def wait_s(self, urgency: Urgency, left: float) -> float:
        """How long until a caller of that urgency may find a token, if nobody else takes one."""
        return max(0.0, (self.kept_back(urgency) + 1.0 - left) / self.rate_per_s)


_LEFT = {Urgency.INCIDENT: 0.0, Urgency.SOON: 0.25, Urgency.ROUTINE: 0.5}
