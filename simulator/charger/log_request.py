"""What GetLog asks for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LogRequest:
    """One log to be sent; `location` may hold credentials, so it is not shown."""

    request_id: int
    kind: str
    location: str = field(repr=False)
    filename: str
    retries: int = 0
    retry_interval_s: int = 0
