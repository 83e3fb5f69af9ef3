"""The one real clock."""

import time
import uuid
from datetime import UTC, datetime


class SystemClock:
    """`bfactors.ports.Clock` of a running process; any thread."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def new_id(self) -> str:
        return uuid.uuid4().hex
