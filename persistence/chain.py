"""The check of hash chains, and of checkpoints held against them, wherever their rows come from. Pure; some 6 us a row."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from bfactors.audit.checkpoint import Checkpoint
from bfactors.audit.series import Series, TreeCheck
from bfactors.ledger_row import GENESIS, row_hash

Head = tuple[int, str]
"""The sequence and the hash (lower hex) of a partition's last event; (0, GENESIS) before the first."""

EMPTY: Head = (0, GENESIS)
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class ChainProblem(msgspec.Struct, frozen=True, kw_only=True):
    """The first bad row of a partition. `partition` and `sequence` are None when the source itself cannot be read.

    `kind`: `hash` (the row is not what was hashed), `previous-hash` (it does not continue the row before), `gap` (rows
    are missing before it), `repeated` (its sequence was already there: a fork or another order), `head` (the chain ends
    elsewhere than the ledger says: a cut tail or rows written past it), `rewritten` (a head known from before is no longer
    in the chain), `fork` (a signed checkpoint is of other rows), `truncated` (a signed checkpoint is of more rows),
    `signature` (a checkpoint does not bear the signature it names), `signed-twice` (two checkpoints of one size differ),
    `unreadable`.
    """

    partition: int | None
    sequence: int | None
    kind: str
    detail: str

    def __str__(self) -> str:
        where = "the source" if self.partition is None else f"event {self.partition}:{self.sequence}"
        return f"{where}: {self.kind}: {self.detail}"


class VerificationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read and what was found. Keep `heads` outside: a later run given them notices rewritten history.

    `checkpoints` is how many signed ones were held against the rows, `uncovered` how many rows lie behind the last of them.
    """

    rows: int
    heads: dict[int, Head]
    problems: tuple[ChainProblem, ...]
    checkpoints: int = 0
    uncovered: int = 0

    @property
    def intact(self) -> bool:
        return not self.problems


class ChainCheck:
    """Folds rows in chain order, each partition's for itself; after a partition's first bad row the rest only counts.

    `known_heads` are heads written down earlier (an older report's): each must still be in its chain. `series` are signed
    checkpoints: each must be of its rows.
    """

    def __init__(self, known_heads: Mapping[int, Head] | None = None, series: Series | None = None) -> None:
        self._known = dict(known_heads or {})
        self._series = series
        by_partition = series.by_partition if series is not None else {}
        self._trees = {partition: TreeCheck(checkpoints) for partition, checkpoints in by_partition.items()}
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
            tree = self._trees.get(partition)
            if tree is not None and (denied := tree.row(sequence, hash_)) is not None:
                self._forked(tree, denied)
                return
            known = self._known.get(partition)
            if known is not None and known[0] == sequence and known[1] != hash_:
                self._bad(partition, sequence, "rewritten", "another hash stood here before")

    def _forked(self, tree: TreeCheck, denied: Checkpoint) -> None:
        first = tree.agreed + 1
        where = f"event {first}" if first == denied.size else f"one of the events {first} to {denied.size}"
        detail = f"the checkpoint of {denied.size} rows, signed {denied.made_at:{_TIME}}, was of other rows: {where}"
        self._bad(denied.partition, first, "fork", detail)

    def _truncated(self, partition: int, last: int) -> bool:
        beyond = self._trees[partition].last if partition in self._trees else None
        if beyond is None:
            return False
        detail = f"the chain ends here; a checkpoint signed {beyond.made_at:{_TIME}} is of {beyond.size} rows"
        self._bad(partition, last, "truncated", detail)
        return True

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
        for partition in sorted({*heads, *self._heads, *self._known, *self._trees} - set(self._problems)):
            found = self._heads.get(partition, EMPTY)
            known = self._known.get(partition, EMPTY)
            told = heads.get(partition)
            if self._truncated(partition, found[0]):
                continue
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
        series = self._series
        covered = {partition: tree.agreed for partition, tree in self._trees.items()}
        return VerificationReport(
            rows=self._rows,
            heads=dict(self._heads),
            problems=first + (_problems_of(series) if series is not None else ()) + by_partition,
            checkpoints=series.count if series is not None else 0,
            uncovered=sum(head[0] - covered.get(partition, 0) for partition, head in self._heads.items()),
        )


def _problems_of(series: Series) -> tuple[ChainProblem, ...]:
    """What is wrong with checkpoints whatever the rows are."""
    spoiled = "names a key that is trusted and does not bear its signature"
    doubled = "two checkpoints of this size were signed, of different rows"
    return (
        *(_of_checkpoint(each, "signature", spoiled) for each in series.spoiled),
        *(_of_checkpoint(each, "signed-twice", doubled) for each in series.doubled),
    )


def _of_checkpoint(checkpoint: Checkpoint, kind: str, detail: str) -> ChainProblem:
    detail = f"checkpoint of {checkpoint.origin}, {checkpoint.made_at:{_TIME}}: {detail}"
    return ChainProblem(partition=checkpoint.partition, sequence=checkpoint.size, kind=kind, detail=detail)
