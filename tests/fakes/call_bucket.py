"""The bucket of all nodes in memory, on a clock in the test's hand."""

import asyncio
from collections.abc import Callable

from bfactors.call_bucket import BucketSize, Grant
from bfactors.errors import Unavailable
from gateways.ca.token_bucket import TokenBucket


class FakeCallBucket:
    """`CallBucket`; passes the suite of tests/contract/test_call_bucket.py with the real one."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self.is_away = False
        self.asked = 0

    async def take(
        self, scope: str, operation: str, *, size: BucketSize, wanted: int, kept_back: float
    ) -> Grant:
        await asyncio.sleep(0)
        self.asked += 1
        if self.is_away:
            raise Unavailable("test", "away")
        bucket = self._buckets.setdefault((scope, operation), TokenBucket(size))
        return bucket.take(self._monotonic(), wanted, kept_back)
