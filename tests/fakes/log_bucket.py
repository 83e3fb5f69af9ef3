"""A small S3 over real HTTP: one bucket in memory, the operations our stores use, hashes and parts checked."""

import hashlib
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from aiohttp import web

_XML = "http://s3.amazonaws.com/doc/2006-03-01/"
_SMALLEST_PART = 5 * 1024 * 1024


@dataclass
class FakeBucket:
    """`objects` by key; `uploads` by id, each with its key and parts. `refuses`: operations answered 503."""

    name: str = "logs"
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    operations: list[str] = field(default_factory=list)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each object was put with."""
    page: int = 2
    url: str = ""
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def served(self) -> AsyncIterator["FakeBucket"]:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{bucket}", self._answer)
        app.router.add_route("*", "/{bucket}/{key:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key, query = request.match_info.get("key", ""), request.query
        body = await request.read()
        if request.match_info["bucket"] != self.name:
            return _problem(404, "NoSuchBucket")
        signed = request.headers.get("x-amz-content-sha256", "")
        if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
            return _problem(403, "AccessDenied")
        if body and signed != hashlib.sha256(body).hexdigest():
            return _problem(400, "XAmzContentSHA256Mismatch")
        operation = _operation(request.method, key, set(query))
        self.operations.append(operation)
        if operation in self.refuses:
            return _problem(503, "SlowDown")
        match operation:
            case "PutObject" if request.headers.get("If-None-Match") == "*" and key in self.objects:
                return _problem(412, "PreconditionFailed")
            case "PutObject":
                self.objects[key] = body
                self.headers[key] = {name.lower(): value for name, value in request.headers.items()}
                return web.Response(headers={"ETag": _etag(body)})
            case "CreateMultipartUpload":
                upload = f"upload-{next(self._ids)}"
                self.uploads[upload] = (key, {})
                return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
            case "UploadPart" if query["uploadId"] in self.uploads:
                self.uploads[query["uploadId"]][1][int(query["partNumber"])] = body
                return web.Response(headers={"ETag": _etag(body)})
            case "CompleteMultipartUpload" if query["uploadId"] in self.uploads:
                return self._complete(key, query["uploadId"], body)
            case "AbortMultipartUpload" if query["uploadId"] in self.uploads:
                del self.uploads[query["uploadId"]]
                return web.Response(status=204)
            case "UploadPart" | "CompleteMultipartUpload" | "AbortMultipartUpload":
                return _problem(404, "NoSuchUpload")
            case "GetObject" | "HeadObject" if key in self.objects:
                found = self.objects[key]
                return web.Response(body=found, headers={"ETag": _etag(found)})
            case "GetObject" | "HeadObject":
                return _problem(404, "NoSuchKey")
            case "DeleteObject":
                self.objects.pop(key, None)
                return web.Response(status=204)
            case "ListObjectsV2":
                after = query.get("continuation-token", query.get("start-after", ""))
                return self._list(query.get("prefix", ""), after)
        return _problem(501, "NotImplemented")

    def _complete(self, key: str, upload: str, body: bytes) -> web.StreamResponse:
        parts = self.uploads[upload][1]
        asked = [
            (int(part.findtext(f"{{{_XML}}}PartNumber", "0")), part.findtext(f"{{{_XML}}}ETag", ""))
            for part in ElementTree.fromstring(body).findall(f"{{{_XML}}}Part")
        ]
        if not asked or any(number not in parts or _etag(parts[number]) != etag for number, etag in asked):
            return _problem(400, "InvalidPart")
        if any(len(parts[number]) < _SMALLEST_PART for number, _ in asked[:-1]):
            return _problem(400, "EntityTooSmall")
        self.objects[key] = b"".join(parts[number] for number, _ in sorted(asked))
        del self.uploads[upload]
        return _xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key>")

    def _list(self, prefix: str, after: str) -> web.StreamResponse:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        page = keys[: self.page]
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.objects[key])}</Size></Contents>"
            for key in page
        )
        more = len(keys) > len(page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        return _xml("ListBucketResult", f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}")


def _operation(method: str, key: str, query: set[str]) -> str:
    match method:
        case "PUT":
            return "UploadPart" if "uploadId" in query else "PutObject"
        case "POST":
            return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
        case "DELETE":
            return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
        case "HEAD":
            return "HeadObject"
        case _:
            return "GetObject" if key else "ListObjectsV2"


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _xml(name: str, inner: str) -> web.Response:
    return web.Response(text=f'<{name} xmlns="{_XML}">{inner}</{name}>', content_type="application/xml")


def _problem(status: int, code: str) -> web.Response:
    text = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")
