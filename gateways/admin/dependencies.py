"""Everything the admin API is given, in one value."""

from collections.abc import Callable
from dataclasses import dataclass

from bfactors.evidence import AccessDenied
from bfactors.ports import Clock, CommandDoor, Metrics, PersonalIdentifiers, SecretStore
from bfactors.pseudonym import PseudonymKey
from gateways.admin.ports import (
    AuthorityDesk,
    EventFeed,
    Exposition,
    KeyMint,
    LastSeen,
    LogDesk,
    NotificationDesk,
    Proofs,
    Reader,
    ReadinessOf,
    ServerForecast,
    ShownServerCertificates,
    Statuses,
    TokenStore,
    TracedFrames,
)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDependencies:
    """`allowed_hosts` are the names a request's Host may bear, without port; loopback's names by default.

    `events` None: this process has no stream to offer, and `/api/v1/events` answers 503.
    """

    reader: Reader
    tokens: TokenStore
    commands: CommandDoor
    keys: KeyMint
    secrets: SecretStore
    personal: PersonalIdentifiers
    clock: Clock
    metrics: Metrics
    exposition: Exposition
    readiness: ReadinessOf
    server_forecast: ServerForecast
    pseudonym_keys: tuple[PseudonymKey, ...] = ()
    """What VIN, EMAID and PCID are named under; without one no such identity can be registered here."""
    statuses: Statuses = tuple
    last_seen: LastSeen = lambda charger_id: None
    server_certificates: ShownServerCertificates = tuple
    """What each live connect node shows chargers."""
    traced_frames: TracedFrames = lambda charger_id, trace_id: ()
    events: EventFeed | None = None
    logs: LogDesk | None = None
    """None: this process takes no logs in, and asking for one answers 409."""
    proofs: Proofs | None = None
    """None: this process proves nothing, and asking for it answers 409."""
    denied: Callable[[AccessDenied], None] = lambda denial: None
    """Told of every request that was not allowed."""
    authorities: AuthorityDesk | None = None
    """None: this process has no CA to ask, and registering one answers 409."""
    notifications: NotificationDesk | None = None
    """None: this process sends no notices."""
    ca_calls_per_s: float = 20.0
    """What each CA is asked at most, on all nodes together: how long an incident takes is told from it."""
    certificate_price: float = 0.0
    """What a CA takes for one certificate, likewise."""
    allowed_hosts: frozenset[str] = LOOPBACK_HOSTS
    version: str = "0.1.0"
    heartbeat_s: float = 15.0
    """How often an idle event stream is given a comment, so that proxies keep it open."""
    stream_limit: int = 64
    """Event streams at the same time."""
