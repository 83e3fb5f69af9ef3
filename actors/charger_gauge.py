"""The two numbers that actors on many lanes add to: the fullest mailbox of a family, the evidence that waits for NATS."""

from collections.abc import Callable

from bfactors.ports import Metrics

PUBLISHED_EVERY_S = 1.0
"""It changes twice an exchange; nobody reads it more often than this."""


class FleetGauge:
    """One a node. Each family's part is written on that family's lane only; the sum may be a moment old."""

    __slots__ = ("_families", "_monotonic", "_published", "_published_at", "metrics")

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.metrics = metrics
        self._monotonic = monotonic
        self._published = 0
        self._published_at = float("-inf")
        self._families: dict[str, FamilyGauge] = {}

    def family(self, name: str) -> "FamilyGauge":
        """I/O lane only."""
        gauge = self._families.get(name)
        if gauge is None:
            gauge = self._families[name] = FamilyGauge(self, name)
        return gauge

    def publish_owed(self) -> None:
        """At most once a second, unless it has doubled or there is none left: never wrong by more than that."""
        owed = sum(gauge.owed for gauge in tuple(self._families.values()))
        now = self._monotonic()
        is_recent = now - self._published_at < PUBLISHED_EVERY_S
        if is_recent and 0 < owed < 2 * max(self._published, 1):
            return
        if owed or self._published:
            self._published, self._published_at = owed, now
            self.metrics.gauge("bf_evidence_buffered", owed)


class FamilyGauge:
    """Also the mailboxes' HighWaterGauge."""

    __slots__ = ("_deepest", "_family", "_fleet", "owed")

    def __init__(self, fleet: FleetGauge, family: str) -> None:
        self._fleet = fleet
        self._family = family
        self._deepest = 0
        self.owed = 0

    def raised_to(self, depth: int) -> None:
        if depth > self._deepest:
            self._deepest = depth
            self._fleet.metrics.gauge("bf_mailbox_depth_max", depth, family=self._family)

    def owed_by(self, more: int) -> None:
        """The evidence waiting in this family grew, or shrank, by so many pieces."""
        self.owed += more
        self._fleet.publish_owed()
