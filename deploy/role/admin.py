"""The admin API over the core's reader, commands and tokens."""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from yarl import URL

from bfactors.errors import SettingsError
from bfactors.pseudonym import PseudonymKey
from bfactors.settings import Settings
from deploy.audit.desk import AuditDesk
from deploy.role.core import CoreRole
from deploy.role.custody import Pepper, pseudonym_keys
from deploy.role.event_feed import StreamFeed
from deploy.role.runtime import Runtime
from deploy.role.standing import everywhere
from gateways.admin.app import create_app
from gateways.admin.denial import DenialReporter
from gateways.admin.dependencies import LOOPBACK_HOSTS, AdminDependencies
from gateways.admin.oidc import OidcSettings, OidcTokens
from gateways.admin.ports import LogDesk, Readiness, ShownOnNode, TokenStore
from gateways.admin.role import ROLES
from gateways.admin.server import AdminServer, serve_admin
from gateways.egress.egress import HttpEgress
from gateways.metrics import PrometheusMetrics
from gateways.nats.ledger_feed import LedgerFeed


class AdminRole:
    """Made and used on the I/O lane."""

    def __init__(
        self,
        runtime: Runtime,
        core: CoreRole,
        pepper: Pepper,
        metrics: PrometheusMetrics,
        missing: Callable[[], list[str]],
        logs: LogDesk | None = None,
        in_acm: Callable[[], list[ShownOnNode]] = list,
    ) -> None:
        self._egress: HttpEgress | None = None
        self._denials = DenialReporter(core.evidence_log, runtime.clock, source=f"admin:{core.owner}")
        self._dependencies = AdminDependencies(
            reader=core.database.reader,
            tokens=self._tokens(core, runtime, metrics),
            commands=core.commands,
            keys=pepper,
            secrets=core.database.secrets,
            personal=core.database.personal,
            pseudonym_keys=_pseudonym_keys(core.settings),
            clock=runtime.clock,
            metrics=metrics,
            exposition=metrics.exposition,
            readiness=lambda: Readiness(not missing(), tuple(missing())),
            statuses=partial(everywhere, runtime.tree.statuses, core.live_nodes),
            last_seen=core.seen.last_seen,
            server_forecast=core.server_trust.forecast,
            server_certificates=lambda: [
                *(ShownOnNode(each.node, each.server) for each in core.live_nodes()),
                *in_acm(),
            ],
            allowed_hosts=LOOPBACK_HOSTS | frozenset(core.settings.admin_allowed_hosts),
            logs=logs,
            proofs=AuditDesk(core.database.proofs, core.signer, runtime.clock),
            notifications=core.notifying,
            denied=self._denials.denied,
            authorities=core.authorities,
            ca_calls_per_s=core.settings.ca_calls_per_s,
            certificate_price=core.settings.ca_certificate_price,
            traced_frames=core.traces.frames,
            events=StreamFeed(LedgerFeed(core.nats.connection, core.nats.replies)),
        )
        self._tls = server_context(core.settings.admin_chain_file, core.settings.admin_key_file)
        self._server: AdminServer | None = None

    def _tokens(self, core: CoreRole, runtime: Runtime, metrics: PrometheusMetrics) -> TokenStore:
        """Our own tokens; with an identity provider in the settings, its as well. Raises SettingsError."""
        settings = oidc_settings(core.settings)
        if settings is None:
            return core.database.tokens
        hosts = [URL(url).host or "" for url in (settings.issuer, settings.jwks_url) if url]
        self._egress = HttpEgress(metrics, allowed_hosts=hosts)
        return OidcTokens(core.database.tokens, settings, self._egress, runtime.clock)

    async def start(self, host: str, port: int) -> None:
        """Raises SettingsError for a port that is taken."""
        self._denials.start()
        self._server = await serve_admin(create_app(self._dependencies), host, port, self._tls)

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return self._server.url

    async def stop(self) -> None:
        """Close it."""
        if self._server is not None:
            await self._server.close()
        await self._denials.stop()
        if self._egress is not None:
            await self._egress.close()


def _pseudonym_keys(settings: Settings) -> tuple[PseudonymKey, ...]:
    """None where no file is named. Raises SettingsError."""
    path = settings.pseudonym_key_file
    return () if path == Path() else pseudonym_keys(path)


def oidc_settings(settings: Settings) -> OidcSettings | None:
    """What an identity provider's tokens are checked by, if there is one. Raises SettingsError."""
    if not settings.oidc_issuer:
        return None
    for name, url in (("oidc_issuer", settings.oidc_issuer), ("oidc_jwks_url", settings.oidc_jwks_url)):
        if url and not url.startswith("https://") and URL(url).host not in LOOPBACK_HOSTS:
            raise SettingsError(f"{name} must be an https address")
    for value, role in settings.oidc_roles.items():
        if role not in ROLES:
            raise SettingsError(
                f"oidc_roles maps {value!r} to {role!r}; the roles are {', '.join(sorted(ROLES))}"
            )
    return OidcSettings(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        roles=settings.oidc_roles,
        roles_claim=settings.oidc_roles_claim,
        name_claim=settings.oidc_name_claim,
        cohorts_claim=settings.oidc_cohorts_claim,
        jwks_url=settings.oidc_jwks_url,
    )


def server_context(chain_file: Path, key_file: Path) -> ssl.SSLContext | None:
    """TLS for the admin API, or None where no certificate is named. Raises SettingsError."""
    if chain_file == Path() and key_file == Path():
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(chain_file, key_file)
    except (OSError, ssl.SSLError) as problem:
        raise SettingsError(
            f"the admin API's certificate {chain_file} cannot be used: {problem}"
        ) from problem
    return context
