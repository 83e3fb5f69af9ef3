"""A stored log for an operator's browser: always a file to save, never something to show or run."""

import base64
import hashlib
import logging
from contextlib import aclosing

from aiohttp import web

from bfactors.errors import Unavailable
from bfactors.ports import LogStore, OpenLog

_LOG = logging.getLogger(__name__)

_HEADERS = {
    "Content-Type": "application/octet-stream",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
}


async def send_log(request: web.BaseRequest, store: LogStore, stored_name: str) -> web.StreamResponse | None:
    """Answer with the log as an attachment under its generated name; None when there is no such log.

    The last piece leaves only if everything hashes to what was recorded; otherwise the connection is cut, so that a
    damaged log never looks complete. Raises Unavailable, before the answer begins.
    """
    opened = await store.open_log(stored_name)
    if opened is None:
        return None
    try:
        digest = base64.b64encode(bytes.fromhex(opened.sha256)).decode("ascii")
        response = web.StreamResponse(
            headers={
                **_HEADERS,
                "Content-Disposition": f'attachment; filename="{stored_name}.log"',
                "Repr-Digest": f"sha-256=:{digest}:",
            }
        )
        response.content_length = opened.size_bytes
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await _pass_on(opened, response)
        except (Unavailable, ConnectionError) as error:
            _LOG.error("a stored log could not be sent to its end: %s", error)
            # An answer that has begun can only be broken off, never turned into another one.
            if request.transport is not None:
                request.transport.abort()
    finally:
        await opened.close()
    return response


async def _pass_on(opened: OpenLog, response: web.StreamResponse) -> None:
    found = hashlib.sha256()
    held = b""
    async with aclosing(opened.chunks()) as chunks:
        async for chunk in chunks:
            found.update(chunk)
            if held:
                await response.write(held)
            held = chunk
    if found.hexdigest() != opened.sha256:
        raise Unavailable("log store", "the log does not match its digest")
    await response.write(held)
    await response.write_eof()
