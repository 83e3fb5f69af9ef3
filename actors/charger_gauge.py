"""The two numbers that actors on many lanes add to: the fullest mailbox of a family, the evidence that waits for NATS."""

from bfactors.ports import Metrics


class FleetGauge:
    """One a node. Each family's part is written on that family's lane only; the sum may be a moment old."""

    __slots__ = ("_families", "metrics")

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._families: dict[str, FamilyGauge] = {}

    def family(self, name: str) -> "FamilyGauge":
        """I/O lane only."""
        gauge = self._families.get(name)
        if gauge is None:
            gauge = self._families[name] = FamilyGauge(self, name)
        return gauge

    def publish_owed(self) -> None:
        owed = sum(gauge.owed for gauge in tuple(self._families.values()))
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
