"""One log going into or coming out of S3, piece by piece, and how calls to S3 fail."""

import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from aiohttp import ClientError as HttpClientError
from botocore.exceptions import BotoCoreError, ClientError

from bfactors.errors import Unavailable

PART_BYTES = 5 * 1024 * 1024
"""S3's smallest piece; this much memory per upload."""
DIGEST = ".sha256"
PEER = "log store"
_CHUNK_BYTES = 256 * 1024
_ABSENT = {"NoSuchKey", "404", "NotFound"}


class S3LogWriter:
    """`bfactors.ports.LogWriter`: gathers pieces of PART_BYTES; a multipart upload begins with the first full one."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._s3 = s3
        self._place = {"Bucket": bucket, "Key": key}
        self._gathered = bytearray()
        self._upload: dict[str, str] = {}
        self._parts: list[dict[str, Any]] = []
        self._has_digest = False
        self._is_over = False

    async def write(self, chunk: bytes) -> None:
        self._gathered += chunk
        while len(self._gathered) >= PART_BYTES:
            piece = bytes(self._gathered[:PART_BYTES])
            del self._gathered[:PART_BYTES]
            await self._send(piece)

    async def finish(self, sha256: str) -> None:
        if self._upload and self._gathered:
            await self._send(bytes(self._gathered))
        digest = f"{sha256}  {self._place['Key'].rpartition('/')[2]}\n".encode("ascii")
        self._has_digest = True
        await called(self._s3.put_object(**self._digest_place(), Body=digest, ContentType="text/plain"))
        # From here on it may have become visible, whatever comes back.
        self._is_over = True
        if self._upload:
            parts = {"Parts": self._parts}
            await called(
                self._s3.complete_multipart_upload(**self._place, **self._upload, MultipartUpload=parts)
            )
        else:
            body = bytes(self._gathered)
            await called(
                self._s3.put_object(**self._place, Body=body, ContentType="application/octet-stream")
            )

    async def abandon(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._gathered.clear()
        with contextlib.suppress(Unavailable):
            if self._upload:
                await called(self._s3.abort_multipart_upload(**self._place, **self._upload))
        with contextlib.suppress(Unavailable):
            if self._has_digest:
                await called(self._s3.delete_object(**self._digest_place()))

    async def _send(self, piece: bytes) -> None:
        if not self._upload:
            created = await called(
                self._s3.create_multipart_upload(**self._place, ContentType="application/octet-stream")
            )
            self._upload = {"UploadId": created["UploadId"]}
        number = len(self._parts) + 1
        sent = await called(
            self._s3.upload_part(**self._place, **self._upload, PartNumber=number, Body=piece)
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def _digest_place(self) -> dict[str, str]:
        return {**self._place, "Key": self._place["Key"] + DIGEST}


class S3OpenLog:
    """`bfactors.ports.OpenLog` over the body of one GetObject."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._body = answer["Body"]
        self.size_bytes: int = answer["ContentLength"]
        self.sha256 = ""

    async def learn_digest(self, answer: dict[str, Any]) -> None:
        """Read the digest's object. Raises Unavailable."""
        try:
            text = (await called(answer["Body"].read(128))).decode("ascii", "replace").split(" ")[0]
        finally:
            answer["Body"].close()
        if re.fullmatch(r"[0-9a-f]{64}", text) is None:
            raise Unavailable(PEER, "a log's digest object holds no digest")
        self.sha256 = text

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while chunk := await called(self._body.read(_CHUNK_BYTES)):
            yield chunk

    async def close(self) -> None:
        self._body.close()


async def if_present(call: Awaitable[Any]) -> Any:
    """The answer, or None when there is no such object. Raises Unavailable."""
    try:
        return await called(call)
    except Unavailable as away:
        cause = away.__cause__
        if isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") in _ABSENT:
            return None
        raise


async def called(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except ClientError as error:
        # The code only: messages repeat keys and bucket policies.
        raise Unavailable(PEER, str(error.response.get("Error", {}).get("Code", "error"))) from error
    except (BotoCoreError, HttpClientError, OSError) as error:
        raise Unavailable(PEER, type(error).__name__) from error
