"""The two numbers that actors on many lanes add to: the fullest mailbox of a family, the evidence that waits for NATS."""

from collections.abc import Callable

from bfactors.ports import Metrics

PUBLISHED_EVERY_S = 1.0
"""It changes twice an exchange; nobody reads it more often than this."""


class FleetGauge:
    """One a node. Each family's part is written on that family's lane only; the sum may be a moment old."""

    __slots__ = ("_families", "_published", "metrics", "monotonic", "published_at")

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.metrics = metrics
        self.monotonic = monotonic
        self._published = 0
        self.published_at = float("-inf")
        self._families: dict[str, FamilyGauge] = {}

    def family(self, name: str) -> "FamilyGauge":
        """I/O lane only."""
        gauge = self._families.get(name)
        if gauge is None:
            gauge = self._families[name] = FamilyGauge(self, name)
        return gauge

    def publish_owed(self, now: float, is_due: bool) -> None:
        """Say the sum, if that is due, or if there is none left."""
        families = tuple(self._families.values())
        owed = sum([gauge.owed for gauge in families])
        if is_due if owed else self._published:
            self._published, self.published_at = owed, now
            for gauge in families:
                gauge.known_owed = gauge.owed
            self.metrics.gauge("bf_evidence_buffered", owed)


class FamilyGauge:
    """Also the mailboxes' HighWaterGauge."""

    __slots__ = ("_deepest", "_family", "_fleet", "known_owed", "owed")

    def __init__(self, fleet: FleetGauge, family: str) -> None:
        self._fleet = fleet
        self._family = family
        self._deepest = 0
        self.owed = 0
        self.known_owed = 0
        """What it was when the sum was last said."""

    def raised_to(self, depth: int) -> None:
        if depth > self._deepest:
            self._deepest = depth
            self._fleet.metrics.gauge("bf_mailbox_depth_max", depth, family=self._family)

    def owed_by(self, more: int) -> None:
        """The evidence waiting in this family grew, or shrank, by so many pieces.

        Said at most once a second, unless it has doubled or there is none left: never wrong by more than that.
        """
        owed = self.owed = self.owed + more
        fleet = self._fleet
        now = fleet.monotonic()
        is_due = owed >= 2 * (self.known_owed or 1) or now - fleet.published_at >= PUBLISHED_EVERY_S
        if is_due or not owed:
            fleet.publish_owed(now, is_due)
