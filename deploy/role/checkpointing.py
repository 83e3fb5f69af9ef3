"""What a core makes checkpoints with, as settings say: keys from a file or KMS, a directory or a bucket to write to."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from bfactors.ledger_row import Lease
from bfactors.ports import CheckpointStore, Clock, Metrics, NoteSigner
from bfactors.settings import Settings
from deploy.role.checkpoint_desk import CheckpointDesk, Show
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.checkpoint.directory_store import DirectoryCheckpoints
from gateways.checkpoint.key_file import FileSigner
from gateways.checkpoint.kms_signer import KmsSigner
from gateways.checkpoint.public_key import Keyring
from gateways.checkpoint.s3_store import S3Checkpoints, S3CheckpointSettings
from gateways.nats.lanes import run_on
from persistence.checkpoint import PostgresCheckpoints

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class CheckpointMeans:
    """Opened and closed on the I/O lane."""

    signer: NoteSigner
    store: CheckpointStore
    rows: PostgresCheckpoints
    clients: AwsClients | None = None
    bucket: S3Checkpoints | None = None

    @classmethod
    async def open(cls, settings: Settings, clock: Clock) -> "CheckpointMeans | None":
        """None where settings name no key. Raises SettingsError; Unavailable when KMS or Postgres is away."""
        if settings.checkpoint_key_file == Path() and not settings.checkpoint_kms_key_arns:
            _LOG.warning(
                "no checkpoints are made: neither checkpoint_key_file nor checkpoint_kms_key_arns is set"
            )
            return None
        signer, clients = await open_signer(settings)
        rows = await PostgresCheckpoints.open(settings.postgres_writer_dsn)
        if not settings.checkpoint_s3_bucket:
            return cls(signer, DirectoryCheckpoints(settings.checkpoint_folder), rows, clients)
        bucket = _bucket(settings, clock)
        await bucket.start()
        return cls(signer, bucket, rows, clients, bucket)

    def desk(self, settings: Settings, clock: Clock, metrics: Metrics, show: Show) -> CheckpointDesk:
        """What makes them, for all partitions owned here."""
        return CheckpointDesk(
            origin=settings.ledger_origin,
            rows=self.rows,
            store=self.store,
            signer=self.signer,
            believe=Keyring,
            clock=clock,
            metrics=metrics,
            show=show,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.rows.close()
        if self.bucket is not None:
            await self.bucket.close()
        if self.clients is not None:
            await self.clients.close()


class LaneCheckpoints:
    """`bfactors.ports.Checkpointing` callable from any lane: the desk works on the I/O lane."""

    def __init__(self, desk: CheckpointDesk, settings: Settings, io_loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._io_loop = io_loop
        self.every_events = settings.checkpoint_every_events
        self.every_s = float(settings.checkpoint_every_s)

    async def checkpoint(self, lease: Lease, after: int, hashes: bytes) -> int:
        return await run_on(self._io_loop, self._desk.checkpoint(lease, after, hashes), "PostgreSQL")


async def open_signer(settings: Settings) -> tuple[NoteSigner, AwsClients | None]:
    """The keys that sign, and the way to them that has to be closed. Raises SettingsError, Unavailable."""
    if not settings.checkpoint_kms_key_arns:
        return FileSigner.load(settings.checkpoint_key_file, settings.ledger_origin), None
    # KMS's usual endpoint: `aws_endpoint_url` is that of the private CA, or of its stand-in.
    clients = AwsClients(
        AwsSettings(
            region=settings.aws_region,
            role_arn=settings.aws_role_arn or None,
            access_key_id=settings.aws_access_key_id or None,
            secret_access_key=settings.aws_secret_access_key or None,
        )
    )
    client = await clients.open("kms")
    return await KmsSigner.open(client, settings.checkpoint_kms_key_arns, settings.ledger_origin), clients


def _bucket(settings: Settings, clock: Clock) -> S3Checkpoints:
    return S3Checkpoints(
        S3CheckpointSettings(
            bucket=settings.checkpoint_s3_bucket,
            region=settings.aws_region,
            prefix=settings.checkpoint_s3_prefix,
            retain_days=settings.checkpoint_s3_retain_days,
            access_key_id=settings.aws_access_key_id or None,
            secret_access_key=settings.aws_secret_access_key or None,
        ),
        clock,
    )
