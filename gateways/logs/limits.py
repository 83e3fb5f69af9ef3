"""Every bound of the receiver in one value."""

from dataclasses import dataclass, field

from gateways.logs.pace import Pace
from gateways.logs.quota import QuotaLimits


@dataclass(frozen=True, kw_only=True)
class ReceiverLimits:
    """Every bound of the receiver that is not the ticket's."""

    quota: QuotaLimits = field(default_factory=QuotaLimits)
    pace: Pace = field(default_factory=Pace)
    connections: int = 128
