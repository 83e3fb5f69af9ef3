"""The log receiver within core: its listener, its store, and what is done for both by the clock."""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bfactors.errors import SettingsError, Unavailable
from bfactors.ports import LogStore
from bfactors.retention import LOGS
from bfactors.settings import Settings
from deploy.role.core import CoreRole
from deploy.role.log_desk import LogDesk, Uploads
from deploy.role.runtime import Runtime, cancel
from gateways.logs.directory_store import DirectoryLogStore
from gateways.logs.receiver import LogReceiver
from gateways.logs.s3_store import S3LogStore, S3Settings
from gateways.logs.server import LogServer
from gateways.metrics import PrometheusMetrics
from gateways.ocpp.tls import CIPHERS, ServerIdentity

_LOG = logging.getLogger(__name__)
CAUGHT_UP_EVERY_S = 15.0
EXPIRED_EVERY_S = 3600.0


class LogReceiverRole:
    """Made and used on the I/O lane."""

    def __init__(
        self, runtime: Runtime, core: CoreRole, settings: Settings, metrics: PrometheusMetrics
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._sweeping = core.sweeping
        self._store: DirectoryLogStore | S3LogStore = _store(settings)
        self._uploads = Uploads(core.database.uploads, core.evidence_log, runtime.clock)
        self._receiver = LogReceiver(
            tickets=self._uploads, store=self._store, clock=runtime.clock, metrics=metrics
        )
        self._server = LogServer(self._receiver, runtime.clock, metrics)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._tls.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        self._tls.set_ciphers(CIPHERS)  # what a charger can speak to the one port, it can speak to the other
        self._tasks: list[asyncio.Task[Any]] = []
        store: LogStore = self._store
        self.desk = LogDesk(
            store,
            core.secrets.store,
            runtime.clock,
            self.url,
            ticket_life=timedelta(seconds=settings.log_ticket_s),
            max_bytes=settings.log_max_bytes,
        )

    async def start(self, identities: Sequence[ServerIdentity]) -> None:
        """Listen with the certificates that chargers verify us by. Raises SettingsError, Unavailable."""
        self.present(identities)
        await self._store.start()
        await self._server.start(self._settings.log_host, self._settings.log_port, self._tls)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._catch_up(), name="announce logs"))
        self._tasks.append(loop.create_task(self._expire(), name="expire logs"))

    def present(self, identities: Sequence[ServerIdentity]) -> None:
        """Use these certificates from the next connection on. Raises SettingsError."""
        for identity in identities:
            try:
                self._tls.load_cert_chain(identity.chain_path, identity.key_path)
            except (OSError, ssl.SSLError) as problem:
                message = f"the log receiver cannot use the certificate {identity.chain_path}: {problem}"
                raise SettingsError(message) from problem

    def url(self) -> str:
        """Where chargers are told to upload to."""
        return self._settings.log_url or f"https://{self._settings.server_name}:{self._server.port}"

    async def stop(self) -> None:
        """Stop listening and tidy up after uploads under way."""
        await cancel(self._tasks)
        await self._server.close()
        if isinstance(self._store, S3LogStore):
            await self._store.close()

    async def _catch_up(self) -> None:
        while True:
            try:
                missed = await self._uploads.catch_up()
                await self._uploads.forget_secrets()
            except Unavailable as away:
                _LOG.info("logs that arrived are not all announced yet: %s", away)
            else:
                if missed:
                    _LOG.info("%d logs that had arrived were announced late", missed)
            await asyncio.sleep(CAUGHT_UP_EVERY_S)

    async def _expire(self) -> None:
        kept = timedelta(days=self._settings.log_retention_days)
        while True:
            try:
                before = self._runtime.clock.now() - await self._sweeping.logs_kept(kept)
                gone = await self._receiver.expire(before)
            except Unavailable as away:
                _LOG.info("old logs are not deleted yet: %s", away)
            else:
                if gone:
                    self._runtime.metrics.count("bf_retention_deleted_total", gone, kind=LOGS)
                    _LOG.info("%d logs past their retention were deleted", gone)
            await asyncio.sleep(EXPIRED_EVERY_S)


def _store(settings: Settings) -> DirectoryLogStore | S3LogStore:
    if not settings.log_s3_bucket:
        return DirectoryLogStore(settings.data_dir / "logs")
    return S3LogStore(
        S3Settings(
            bucket=settings.log_s3_bucket,
            region=settings.aws_region,
            prefix=settings.log_s3_prefix,
            access_key_id=settings.aws_access_key_id or None,
            secret_access_key=settings.aws_secret_access_key or None,
        )
    )
