"""Logs as objects of an S3 bucket: a log in one piece when it is small, else by multipart upload of bounded pieces.

The digest is an object of its own, put before the log is completed: a log that can be listed has its digest. Every
piece is signed with its hash, so that the store itself refuses what was damaged on the way.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig

from bfactors.errors import Unavailable
from bfactors.log_upload import StoredLog, stored_log
from gateways.logs.s3_object import DIGEST, PEER, S3LogWriter, S3OpenLog, called, if_present


@dataclass(frozen=True, kw_only=True)
class S3Settings:
    """Which bucket, and where. `prefix` is a folder in it; `endpoint_url` names another store that speaks S3.

    Without keys the credentials are found by the default chain.
    """

    bucket: str
    region: str
    prefix: str = "charger-logs"
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    attempts: int = 3
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0


class S3LogStore:
    """`bfactors.ports.LogStore` over one bucket; the loop that called `start` owns its connections."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._folder = f"{settings.prefix.strip('/')}/" if settings.prefix.strip("/") else ""
        self._stack = AsyncExitStack()
        self._s3: Any = None

    async def start(self) -> None:
        """Make the client; no call leaves."""
        settings = self._settings
        session = aioboto3.Session(
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
            region_name=settings.region,
        )
        config = AioConfig(
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            connect_timeout=settings.connect_timeout_s,
            read_timeout=settings.read_timeout_s,
            # Not every store that speaks S3 knows the newer checksum trailers; the signed hash covers the same.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={
                "payload_signing_enabled": True,
                "addressing_style": "path" if settings.endpoint_url else "auto",
            },
        )
        client = session.client("s3", endpoint_url=settings.endpoint_url, config=config)
        self._s3 = await self._stack.enter_async_context(client)

    async def close(self) -> None:
        """Close the connections."""
        self._s3 = None
        await self._stack.aclose()

    async def begin(self, stored_name: str) -> "S3LogWriter":
        return S3LogWriter(self._client(), self._settings.bucket, self._key(stored_name))

    async def open_log(self, stored_name: str) -> "S3OpenLog | None":
        if stored_log(stored_name, 0) is None:
            return None
        key, bucket, s3 = self._key(stored_name), self._settings.bucket, self._client()
        answer = await if_present(s3.get_object(Bucket=bucket, Key=key))
        if answer is None:
            return None
        opened = S3OpenLog(answer)
        try:
            await opened.learn_digest(await called(s3.get_object(Bucket=bucket, Key=key + DIGEST)))
        except Unavailable:
            await opened.close()
            raise
        return opened

    async def stored(self) -> Sequence[StoredLog]:
        found: list[StoredLog] = []
        more: dict[str, str] = {}
        while True:
            page = await called(
                self._client().list_objects_v2(Bucket=self._settings.bucket, Prefix=self._folder, **more)
            )
            for item in page.get("Contents", ()):
                log = stored_log(item["Key"].removeprefix(self._folder), item["Size"])
                found += [log] if log is not None else []
            if not page.get("IsTruncated"):
                return sorted(found, key=lambda log: log.stored_name)
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def delete(self, stored_name: str) -> bool:
        if stored_log(stored_name, 0) is None:
            return False
        key, bucket, s3 = self._key(stored_name), self._settings.bucket, self._client()
        if await if_present(s3.head_object(Bucket=bucket, Key=key)) is None:
            return False
        # The log first: one that can be listed has its digest.
        for one in (key, key + DIGEST):
            await called(s3.delete_object(Bucket=bucket, Key=one))
        return True

    async def expire(self, older_than: datetime) -> Sequence[StoredLog]:
        old = [log for log in await self.stored() if log.stored_at < older_than]
        return [log for log in old if await self.delete(log.stored_name)]

    def _key(self, stored_name: str) -> str:
        if stored_log(stored_name, 0) is None:
            raise ValueError("not a generated name of a log")
        return self._folder + stored_name

    def _client(self) -> Any:
        if self._s3 is None:
            raise Unavailable(PEER, "the client is closed")
        return self._s3
