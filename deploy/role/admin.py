"""The admin API over the core's reader, commands and tokens."""

from collections.abc import Callable

from deploy.role.core import CoreRole
from deploy.role.custody import Pepper
from deploy.role.event_feed import StreamFeed
from deploy.role.runtime import Runtime
from gateways.admin.app import create_app
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.ports import Readiness
from gateways.admin.server import AdminServer, serve_admin
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
    ) -> None:
        self._dependencies = AdminDependencies(
            reader=core.database.reader,
            tokens=core.database.tokens,
            commands=core.commands,
            keys=pepper,
            clock=runtime.clock,
            metrics=metrics,
            exposition=metrics.exposition,
            readiness=lambda: Readiness(not missing(), tuple(missing())),
            statuses=runtime.tree.statuses,
            events=StreamFeed(LedgerFeed(core.nats.connection, core.nats.replies)),
        )
        self._server: AdminServer | None = None

    async def start(self, host: str, port: int) -> None:
        """Raises SettingsError for a port that is taken."""
        self._server = await serve_admin(create_app(self._dependencies), host, port)

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return self._server.url

    async def stop(self) -> None:
        """Close it."""
        if self._server is not None:
            await self._server.close()
