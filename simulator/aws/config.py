"""What one AWS peer is told at its start: realms, key types, quotas and the delays of the real service.

Defaults are AWS's own where AWS publishes one; demos and tests shorten the waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from simulator.aws.clock import PeerClock
from simulator.aws.role import Role

KeyAlgorithm = Literal["EC_prime256v1", "RSA_2048"]

REALMS = ("charger-identity", "backend-server", "vehicle-vas", "iso15118")

#: Calls per second and account, by operation. Source: facts sheet aws-private-ca 3.3; operations
#: absent here (STS, the peer's own routes) are not throttled.
QUOTAS_PER_S: Mapping[str, float] = {
    "IssueCertificate": 25,
    "GetCertificate": 75,
    "RevokeCertificate": 20,
    "DescribeCertificateAuthority": 20,
    "GetCertificateAuthorityCertificate": 20,
    "ListCertificateAuthorities": 20,
    "CreateCertificateAuthorityAuditReport": 1,
    "DescribeCertificateAuthorityAuditReport": 20,
}


@dataclass(frozen=True)
class PeerConfig:
    """Settings of one peer. `state_dir` is created with mode 0700 and belongs to one peer at a time.

    `crl_partitions`: so many partial lists for each CA in place of one whole; `ocsp_responder`: certificates name a responder.
    `key_algorithms` overrides `key_algorithm` for single realms. `public_url` is the base of CRL
    addresses written into certificates; without it the address the peer listens on is used, which is
    only stable with a fixed port. With no `roles` every caller may do everything; with roles, a session
    of a role not listed, or a call outside a role's grant, is AccessDeniedException. `pause` waits out a fault's `delay_s`.
    """

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    public_url: str | None = None
    region: str = "eu-central-1"
    account_id: str = "123456789012"
    organization: str = "BetterFleet Demo"
    realms: tuple[str, ...] = REALMS
    key_algorithm: KeyAlgorithm = "EC_prime256v1"
    key_algorithms: Mapping[str, KeyAlgorithm] = field(default_factory=dict)
    root_validity_years: int = 10
    issuing_validity_years: int = 5
    idempotency_window: timedelta = timedelta(minutes=5)
    ready_delay: timedelta = timedelta()
    crl_lag: timedelta = timedelta(minutes=30)
    crl_validity: timedelta = timedelta(days=7)
    crl_distribution_points: bool = True
    crl_partitions: int = 0
    ocsp_responder: bool = False
    ocsp_lag: timedelta = timedelta(minutes=60)
    audit_report_interval: timedelta = timedelta(minutes=30)
    quotas_per_s: Mapping[str, float] = field(default_factory=lambda: dict(QUOTAS_PER_S))
    roles: tuple[Role, ...] = ()
    journal_entries: int = 20_000
    clock: PeerClock = field(default_factory=PeerClock)
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep
