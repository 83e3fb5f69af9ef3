"""`bfactors.ports.PersonalIdentifiers` in memory, without seals, beside a fake ledger that knows who bears what."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bfactors.disclosed import Disclosed
from bfactors.errors import Unavailable
from bfactors.ledger_row import HolderRow
from tests.fakes.ledger_store import FakeLedgerStore


class FakePersonalIdentifiers:
    """`away` makes every call fail. The rows are the ledger's own, since its commits delete what is erased."""

    def __init__(self, ledger: FakeLedgerStore) -> None:
        self._ledger = ledger
        self.away = False

    async def put(self, pseudonym: str, kind: str, value: Disclosed, now: datetime) -> None:
        self._check()
        before = self._ledger.personal.get(pseudonym)
        if before is None:
            self._ledger.personal[pseudonym] = (value, now)
        else:
            self._ledger.personal[pseudonym] = (before[0], max(before[1], now))

    async def open(self, pseudonyms: Sequence[str]) -> Mapping[str, Disclosed]:
        self._check()
        rows = self._ledger.personal
        return {name: rows[name][0] for name in pseudonyms if name in rows}

    async def sweep_unwanted(self, used_before: datetime, limit: int) -> int:
        self._check()
        return self._delete(
            [
                name
                for name, (_, used_at) in self._ledger.personal.items()
                if used_at < used_before and not self._bearers(name)
            ][:limit]
        )

    async def sweep_retired(self, retired_before: datetime, limit: int) -> int:
        self._check()
        return self._delete(
            [
                name
                for name in self._ledger.personal
                if (bearers := self._bearers(name))
                and not any(row.held or row.since >= retired_before for row in bearers)
            ][:limit]
        )

    def _bearers(self, name: str) -> list[HolderRow]:
        return [row for row in self._ledger.holders.values() if row.external_id == name and row.kept]

    def _delete(self, names: list[str]) -> int:
        for name in names:
            del self._ledger.personal[name]
        return len(names)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("PostgreSQL", "told to be away")
