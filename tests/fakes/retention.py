"""`bfactors.ports.RetentionStore` in memory: records are moments, by kind."""

from datetime import datetime, timedelta

from bfactors.errors import Unavailable


class FakeRetention:
    """`away` makes every call fail; `fails_after` lets so many sweeps through before that."""

    def __init__(self) -> None:
        self.records: dict[str, list[datetime]] = {}
        self.begun_at: datetime | None = None
        self.away = False
        self.fails_after: int | None = None

    async def begin(self, now: datetime, every: timedelta) -> bool:
        self._check()
        if self.begun_at is not None and self.begun_at > now - every:
            return False
        self.begun_at = now
        return True

    async def sweep(self, kind: str, before: datetime, limit: int) -> int:
        self._check()
        if self.fails_after is not None:
            self.away = self.fails_after == 0
            self.fails_after -= 1
            self._check()
        records = sorted(self.records.get(kind, []))
        gone = [at for at in records if at < before][:limit]
        self.records[kind] = records[len(gone) :]
        return len(gone)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("PostgreSQL", "told to be away")
