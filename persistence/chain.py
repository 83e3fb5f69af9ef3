"""The check of hash chains, wherever their rows come from. Pure; about 8 us a row, so 100,000 rows a core-second."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from bfactors.ledger_row import GENESIS, row_hash

Head = tuple[int, str]
"""The sequence and the hash (lower hex) of a partition's last event; (0, GENESIS) before the first."""

EMPTY: Head = (0, GENESIS)


class ChainProblem(msgspec.Struct, frozen=True, kw_only=True):
    """The first bad row of a partition. `partition` and `sequence` are None when the source itself cannot be read.

    `kind`: `hash` (the row is not what was hashed), `previous-hash` (it does not continue the row before), `gap` (rows
    are missing before it), `repeated` (its sequence was already there: a fork or another order), `head` (the chain ends
    elsewhere than the ledger says: a cut tail or rows written past it), `rewritten` (a head known from before is no longer
    in the chain), `unreadable`.
    """

    partition: int | None
    sequence: int | None
    kind: str
    detail: str

    def __str__(self) -> str:
        where = "the source" if self.partition is None else f"event {self.partition}:{self.sequence}"
        return f"{where}: {self.kind}: {self.detail}"


class VerificationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read and what was found. Keep `heads` outside: a later run given them notices rewritten history."""

    rows: int
    heads: dict[int, Head]
    problems: tuple[ChainProblem, ...]

    @property
    def intact(self) -> bool:
        return not self.problems


class ChainCheck:
    """Folds rows in chain order, each partition's for itself; after a partition's first bad row the rest only counts.

    `known_heads` are heads written down earlier (an older report's): each must still be in its chain.
    """

    def __init__(self, known_heads: Mapping[int, Head] | None = None) -> None:
        self._known = dict(known_heads or {})
        self._heads: dict[int, Head] = {}
        self._problems: dict[int, ChainProblem] = {}
        self._rows = 0

    def add(
        self,
        partition: int,
        sequence: int,
        event: str,
        schema_version: int,
        recorded_at: datetime,
        actor: str,
        cause: str,
        policy_version: int,
        fleet_sequence: int,
        charger_id: str | None,
        managed_identity_id: str | None,
        purpose: str | None,
        variant: str | None,
        job_id: str | None,
        certificate_id: str | None,
        payload: str,
        previous_hash: str,
        hash_: str,
    ) -> None:
        """The next row, fields in the order of `EventRow`."""
        self._rows += 1
        if partition in self._problems:
            return
        last, head = self._heads.get(partition, EMPTY)
        if sequence != last + 1:
            self._out_of_order(partition, sequence, last)
            return
        computed = row_hash(
            previous_hash=previous_hash,
            partition=partition,
            sequence=sequence,
            event=event,
            schema_version=schema_version,
            recorded_at=recorded_at,
            actor=actor,
            cause=cause,
            policy_version=policy_version,
            fleet_sequence=fleet_sequence,
            charger_id=charger_id,
            managed_identity_id=managed_identity_id,
            purpose=purpose,
            variant=variant,
            job_id=job_id,
            certificate_id=certificate_id,
            payload=payload,
        )
        if computed != hash_:
            self._bad(partition, sequence, "hash", "its fields do not give the hash stored with it")
        elif previous_hash != head:
            self._bad(partition, sequence, "previous-hash", f"it does not continue the hash of {last}")
        else:
            self._heads[partition] = (sequence, hash_)
            known = self._known.get(partition)
            if known is not None and known[0] == sequence and known[1] != hash_:
                self._bad(partition, sequence, "rewritten", "another hash stood here before")

    def _out_of_order(self, partition: int, sequence: int, last: int) -> None:
        if sequence <= last:
            self._bad(partition, sequence, "repeated", f"it comes after {last}")
        else:
            missing = f"{last + 1}" if sequence == last + 2 else f"{last + 1} to {sequence - 1}"
            self._bad(partition, sequence, "gap", f"{missing} missing before it")

    def unreadable(self, detail: str) -> VerificationReport:
        """The report of a source that broke off."""
        problem = ChainProblem(partition=None, sequence=None, kind="unreadable", detail=detail)
        return self._report((problem,))

    def finish(self, heads: Mapping[int, Head]) -> VerificationReport:
        """The report, after comparing where each chain ended with where the ledger says it ends."""
        for partition in sorted({*heads, *self._heads, *self._known} - set(self._problems)):
            found = self._heads.get(partition, EMPTY)
            known = self._known.get(partition, EMPTY)
            told = heads.get(partition)
            if told is None and partition in self._heads:
                self._bad(partition, found[0], "head", "the ledger has no such partition")
            elif told is not None and found != told:
                self._bad(partition, found[0], "head", f"the chain ends here, the ledger says at {told[0]}")
            elif known[0] > found[0]:
                self._bad(
                    partition, found[0], "rewritten", f"the chain ends here and once reached {known[0]}"
                )
        return self._report(())

    def _bad(self, partition: int, sequence: int, kind: str, detail: str) -> None:
        self._problems[partition] = ChainProblem(
            partition=partition, sequence=sequence, kind=kind, detail=detail
        )

    def _report(self, first: tuple[ChainProblem, ...]) -> VerificationReport:
        by_partition = tuple(problem for _, problem in sorted(self._problems.items()))
        return VerificationReport(rows=self._rows, heads=dict(self._heads), problems=first + by_partition)
