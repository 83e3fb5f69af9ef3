"""One certificate of a charger by every account there is of it, and what the accounts disagree on."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.inventory.held import Held
from bfactors.inventory.match import MatchKind
from bfactors.inventory.store import Store, store_of

Source = Literal["issued", "reported", "seen"]

DifferenceCode = Literal[
    "not-reported",
    "unknown-on-charger",
    "foreign-root",
    "look-alike",
    "seen-unknown",
    "retired-still-listed",
    "wrong-use",
    "duplicate-listing",
    "child-chain-differs",
    "indistinguishable",
    "uncertain-match",
]


class SeenCredential(msgspec.Struct, frozen=True):
    """A leaf that opened a session of this charger, and when it did last."""

    fingerprint_sha256: str
    at: datetime


class Difference(msgspec.Struct, frozen=True):
    """One disagreement: `code` is stable, `message` says what a person can do about it."""

    code: DifferenceCode
    message: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate. `reported` are the charger's own entries, verbatim: what a deletion must echo.

    `held` is None for what is not ours; then `match` is None too.
    """

    held: Held | None = None
    reported: tuple[ReportedCertificate, ...] = ()
    seen: SeenCredential | None = None
    match: MatchKind | None = None
    differences: tuple[Difference, ...] = ()
    is_adoptable: bool = False
    """It may be taken into the inventory as tracked-only."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Who knows of it."""
        named: tuple[tuple[Source, bool], ...] = (
            ("issued", self.held is not None),
            ("reported", bool(self.reported)),
            ("seen", self.seen is not None),
        )
        return tuple(source for source, is_so in named if is_so)

    @property
    def stores(self) -> frozenset[Store]:
        """Where the charger says it keeps it."""
        return frozenset(store_of(entry.use) for entry in self.reported)

    @property
    def fingerprint_sha256(self) -> str | None:
        """Known for what is ours or was seen; a charger's list alone does not tell it."""
        if self.held is not None:
            return self.held.fingerprint_sha256
        return self.seen.fingerprint_sha256 if self.seen else None


class Reconciliation(msgspec.Struct, frozen=True):
    """Every certificate in one row: ours first, as given; then what the charger lists besides; then what was only seen."""

    rows: tuple[Row, ...]

    def listed(self, target: HashData) -> tuple[Row, ReportedCertificate] | None:
        """The charger's own entry that is meant, preferably verbatim, with its row; a deletion sends that entry's hash data."""
        wanted = set(target.readings())
        found: tuple[Row, ReportedCertificate] | None = None
        for row, entry in self.entries():
            if entry.hash_data == target:
                return row, entry
            if found is None and not wanted.isdisjoint(entry.hash_data.readings()):
                found = row, entry
        return found

    def entries(self) -> Iterable[tuple[Row, ReportedCertificate]]:
        """The charger's entries, each with its row."""
        return ((row, entry) for row in self.rows for entry in row.reported)

    @property
    def differing(self) -> tuple[Row, ...]:
        """The rows somebody should look at."""
        return tuple(row for row in self.rows if row.differences)
