"""Checkpoints as objects of an S3 bucket, one each, under object lock where settings ask for it.

The name holds the size and the beginning of the root: a second checkpoint of one size cannot take the first one's place, and a
fork lies beside what it forks from. Proved against a stand-in that speaks S3, not against AWS itself.
"""

import base64
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig
from aiohttp import ClientError as HttpClientError
from botocore.exceptions import BotoCoreError, ClientError

from bfactors.audit.checkpoint import SignedCheckpoint, signed_checkpoint
from bfactors.audit.note import NoteKey
from bfactors.errors import MalformedNote, Unavailable
from bfactors.ports import Clock
from gateways.checkpoint.public_key import pem_of

_PEER = "checkpoint bucket"
_THERE_ALREADY = frozenset({"PreconditionFailed", "412"})


@dataclass(frozen=True, kw_only=True)
class S3CheckpointSettings:
    """`retain_days` above 0 locks each object for so long in compliance mode; the bucket must have object lock."""

    bucket: str
    region: str
    prefix: str = "ledger-checkpoints"
    retain_days: int = 0
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    attempts: int = 3


class S3Checkpoints:
    """`bfactors.ports.CheckpointStore` over one bucket; the loop that called `start` owns its connections."""

    def __init__(self, settings: S3CheckpointSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
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
            connect_timeout=5.0,
            read_timeout=30.0,
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

    async def append(self, checkpoint: SignedCheckpoint) -> None:
        found = checkpoint.checkpoint
        name = f"{found.size:018d}-{found.root_hash[:16]}.txt"
        await self._put(f"{self._place(found.origin, found.partition)}{name}", str(checkpoint.note).encode())

    async def held(self, origin: str, partition: int, from_size: int) -> Sequence[SignedCheckpoint]:
        place = self._place(origin, partition)
        more: dict[str, str] = {"StartAfter": f"{place}{from_size:018d}"}
        found: list[SignedCheckpoint] = []
        while True:
            page = await _called(
                self._client().list_objects_v2(Bucket=self._settings.bucket, Prefix=place, **more)
            )
            for item in page.get("Contents", ()):
                signed = await self._read(item["Key"])
                if signed is not None and signed.checkpoint.origin == origin:
                    found.append(signed)
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def keep_key(self, key: NoteKey) -> None:
        await self._put(f"{self._folder}key-{key.fingerprint_sha256}.pem", pem_of(key).encode())

    def _place(self, origin: str, partition: int) -> str:
        return f"{self._folder}{origin}/{partition:02d}/"

    async def _put(self, name: str, content: bytes) -> None:
        lock: dict[str, Any] = {}
        if self._settings.retain_days:
            until = self._clock.now() + timedelta(days=self._settings.retain_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            await _called(
                self._client().put_object(
                    Bucket=self._settings.bucket,
                    Key=name,
                    Body=content,
                    ContentType="text/plain; charset=utf-8",
                    IfNoneMatch="*",
                    ChecksumSHA256=base64.b64encode(sha256(content).digest()).decode(),
                    **lock,
                )
            )
        except Unavailable as away:
            cause = away.__cause__
            if not isinstance(cause, ClientError) or _code(cause) not in _THERE_ALREADY:
                raise

    async def _read(self, name: str) -> SignedCheckpoint | None:
        answer = await _called(self._client().get_object(Bucket=self._settings.bucket, Key=name))
        try:
            content = await _called(answer["Body"].read())
        finally:
            answer["Body"].close()
        try:
            return signed_checkpoint(content.decode("utf-8", "replace"))
        except MalformedNote:
            return None

    def _client(self) -> Any:
        if self._s3 is None:
            raise Unavailable(_PEER, "the client is closed")
        return self._s3


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "error"))


async def _called(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ClientError as error:
        raise Unavailable(_PEER, _code(error)) from error
    except (BotoCoreError, HttpClientError, OSError) as error:
        raise Unavailable(_PEER, type(error).__name__) from error
