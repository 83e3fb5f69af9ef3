"""Checkpoints brought from outside, sorted into what can be held against a ledger and what cannot."""

from collections.abc import Iterable, Mapping

import msgspec

from bfactors.audit.checkpoint import Checkpoint, SignedCheckpoint
from bfactors.audit.merkle import CompactRange
from bfactors.ports import NoteVerifier


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Checkpoints of one origin that a trusted key signed, by partition, smallest first.

    `spoiled` name a trusted key and do not bear its signature; `doubled` were signed twice, for different rows. `unknown` is
    how many bear no name that is trusted, `others` how many trusted ones are of which other origin.
    """

    origin: str
    by_partition: Mapping[int, tuple[Checkpoint, ...]]
    spoiled: tuple[Checkpoint, ...] = ()
    doubled: tuple[Checkpoint, ...] = ()
    unknown: int = 0
    others: Mapping[str, int] = {}

    @property
    def count(self) -> int:
        """How many can be held against a ledger."""
        return sum(map(len, self.by_partition.values()))


def series_of(
    found: Iterable[SignedCheckpoint],
    verifier: NoteVerifier,
    trusted: frozenset[tuple[str, bytes]],
    origin: str = "",
) -> Series:
    """Sort them. `trusted` are the names and ids of the verifier's keys; without an origin the newest one's is taken."""
    good: list[Checkpoint] = []
    spoiled: list[Checkpoint] = []
    unknown = 0
    for signed in found:
        if verifier.signed_by(signed.note):
            good.append(signed.checkpoint)
        elif trusted & {(line.name, line.key_id) for line in signed.note.signatures}:
            spoiled.append(signed.checkpoint)
        else:
            unknown += 1
    origin = origin or (max(good, key=lambda each: each.made_at).origin if good else "")
    by_place: dict[tuple[int, int], Checkpoint] = {}
    doubled: list[Checkpoint] = []
    others: dict[str, int] = {}
    for each in good:
        if each.origin != origin:
            others[each.origin] = others.get(each.origin, 0) + 1
            continue
        first = by_place.setdefault((each.partition, each.size), each)
        if (first.root_hash, first.head_hash) != (each.root_hash, each.head_hash):
            doubled.append(each)
    by_partition: dict[int, list[Checkpoint]] = {}
    for place in sorted(by_place):
        by_partition.setdefault(place[0], []).append(by_place[place])
    return Series(
        origin=origin,
        by_partition={partition: tuple(each) for partition, each in by_partition.items()},
        spoiled=tuple(spoiled),
        doubled=tuple(doubled),
        unknown=unknown,
        others=others,
    )


class TreeCheck:
    """One partition's rows against its checkpoints, as they are read."""

    __slots__ = ("_left", "_rows", "_stop", "_tree", "agreed")

    def __init__(self, checkpoints: tuple[Checkpoint, ...]) -> None:
        self._left = list(reversed(checkpoints))
        self._tree = CompactRange()
        self._rows: list[str] = []
        self.agreed = 0
        """The size of the last checkpoint that fits."""
        self._stop = self._left[-1].size if self._left else 0

    def row(self, sequence: int, hash_: str) -> Checkpoint | None:
        """The next row; the checkpoint that contradicts it or a row since the last that fits."""
        self._rows.append(hash_)
        if sequence != self._stop:
            return None
        self._tree.extend(bytes.fromhex("".join(self._rows)))
        self._rows.clear()
        checkpoint = self._left.pop()
        self._stop = self._left[-1].size if self._left else 0
        if self._tree.root().hex() != checkpoint.root_hash or checkpoint.head_hash != hash_:
            return checkpoint
        self.agreed = sequence
        return None

    @property
    def last(self) -> Checkpoint | None:
        """The largest that no row has come to."""
        return self._left[0] if self._left else None
