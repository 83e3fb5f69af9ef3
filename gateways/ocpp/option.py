"""The limits of the charger port, with the defaults the house agreed on (MECHANISMS, "Half-open and storms")."""

from dataclasses import dataclass, field

from gateways.ocpp.proxy import Proxies


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Limits of the charger port. Times in seconds, sizes in bytes."""

    max_frame_bytes: int = 64 * 1024
    upgrade_wait_s: float = 10.0
    """For the TLS handshake, and again for the upgrade request."""
    handshakes_in_flight: int = 64
    turn_wait_s: float = 30.0
    """For a handshake's turn, when as many are in flight as may be: the charger has done its part by then."""
    sockets_not_upgraded: int = 8192
    """A depot that comes back at once stands in line rather than being sent away to dial again; a place costs 5 KB."""
    ping_s: int = 60
    pong_s: int = 30
    unsent_bytes: int = 256 * 1024
    unsent_s: float = 30.0
    close_wait_s: float = 5.0
    stop_wait_s: float = 3.0
    backlog: int = 1024
    proxies: Proxies = field(default_factory=Proxies)
    """Load balancers that may say in headers which certificate a client presented; none."""
