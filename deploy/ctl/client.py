"""The admin API as the operator's tool asks it: one token, repeats under one Idempotency-Key, refusals as they were given."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

from bfactors.errors import BetterFleetError, Unavailable

Body = dict[str, Any]
Wait = Callable[[float], Awaitable[None]]

ATTEMPTS = 6
RETRY_S = 1.0
RETRY_AT_MOST_S = 30.0
"""However long the server asks to be left alone."""
REQUEST_WITHIN_S = 90.0
"""Longer than the API lets a charger take to answer a call by hand."""
PAGE = 200
LARGEST_PAGE = 500
_LINE_BYTES = 1 << 20
"""An event of the stream is one line."""


class Refused(BetterFleetError):
    """The API said no; `status` is HTTP's, `code` the reason's, the text what it said, `fields` what is wrong with which."""

    def __init__(self, status: int, code: str, detail: str, fields: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.fields = fields

    @property
    def is_not_offered(self) -> bool:
        """There is no such route on this server."""
        no_such_path = self.status == HTTPStatus.NOT_FOUND and self.code in ("", "unknown-resource")
        return no_such_path or self.status == HTTPStatus.METHOD_NOT_ALLOWED

    @property
    def is_about_the_token(self) -> bool:
        """Nothing else will be allowed with it either."""
        return self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class AdminClient:
    """A client of the admin API at `base`, for one event loop."""

    def __init__(
        self,
        base: str,
        token: str,
        *,
        trust: ssl.SSLContext | None = None,
        wait: Wait = asyncio.sleep,
        attempts: int = ATTEMPTS,
        on_retry: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._trust = trust
        self._attempts = attempts
        self._on_retry = on_retry
        self._http: aiohttp.ClientSession
        self.wait = wait

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=REQUEST_WITHIN_S),
            connector=aiohttp.TCPConnector(ssl=self._trust if self._trust is not None else True),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Body:
        """One resource. Raises Refused, Unavailable."""
        return await self._asked("GET", path, None, "", query)

    async def put(self, path: str, body: Body) -> Body:
        """Raises Refused, Unavailable."""
        return await self._asked("PUT", path, body, "")

    async def patch(self, path: str, body: Body) -> Body:
        """What is named changes; the same again changes nothing. Raises Refused, Unavailable."""
        return await self._asked("PATCH", path, body, "")

    async def delete(self, path: str) -> Body:
        """What became of it; repeated while the answer is lost. Raises Refused, Unavailable."""
        return await self._asked("DELETE", path, None, "")

    async def post(self, path: str, body: Body | None, key: str) -> Body:
        """Raises Refused, Unavailable. Repeated under `key` while the answer is lost or asks to come again."""
        return await self._asked("POST", path, body, key)

    async def content(self, path: str) -> AsyncIterator[bytes]:
        """A file, in pieces. Raises Refused, Unavailable; never asked for twice."""
        try:
            async with self._http.get(self._base + path, allow_redirects=False) as answer:
                if answer.status != HTTPStatus.OK:
                    raise self._refused(await answer.read(), answer.status)
                async for piece in answer.content.iter_chunked(65536):
                    yield piece
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise self._away(_why(problem)) from problem

    async def lines(
        self, path: str, query: Mapping[str, str], content: bytes, media_type: str, key: str
    ) -> AsyncIterator[Body]:
        """POST a file; the answer's lines as they come. Raises Refused, Unavailable; never sent twice."""
        headers = {"Content-Type": media_type, "Idempotency-Key": key}
        patience = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_WITHIN_S)
        try:
            async with self._http.post(
                self._base + path,
                params=query,
                data=content,
                headers=headers,
                timeout=patience,
                allow_redirects=False,
                read_bufsize=_LINE_BYTES,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise self._refused(await answer.read(), answer.status)
                async for line in answer.content:
                    yield _object(line)
        except (aiohttp.ClientError, TimeoutError, ValueError) as problem:
            raise self._away(_why(problem)) from problem

    async def stream(self, path: str, last_id: str) -> AsyncIterator[tuple[str, str]]:
        """Server-sent events until the server ends the stream: the field names and values. Raises Refused, Unavailable."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        patience = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_WITHIN_S)
        try:
            async with self._http.get(
                self._base + path, headers=headers, timeout=patience, read_bufsize=_LINE_BYTES
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise self._refused(await answer.read(), answer.status)
                async for line in answer.content:
                    name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
                    yield name, value.removeprefix(" ")
        except (aiohttp.ClientError, TimeoutError, ValueError) as problem:
            raise self._away(_why(problem)) from problem

    async def items(self, path: str, query: Mapping[str, str], limit: int, largest: int = PAGE) -> list[Body]:
        """The first `limit` items of a list. Raises Refused, Unavailable."""
        found: list[Body] = []
        cursor: str | None = None
        while len(found) < limit:
            page = {**query, "limit": str(min(largest, limit - len(found)))} | (
                {"cursor": cursor} if cursor else {}
            )
            answer = await self.get(path, page)
            found += answer["items"]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        return found[:limit]

    async def every(self, path: str, query: Mapping[str, str]) -> list[Body]:
        """All items of a list, by the largest pages there are. Raises Refused, Unavailable."""
        return await self.items(path, query, sys.maxsize, LARGEST_PAGE)

    async def _asked(
        self, method: str, path: str, body: Body | None, key: str, query: Mapping[str, str] | None = None
    ) -> Body:
        headers = {"Idempotency-Key": key} if key else {}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = orjson.dumps(body)
        why, rest_s = "", RETRY_S
        for attempt in range(self._attempts):
            if attempt:
                self._on_retry(why)
                await self.wait(rest_s)
            rest_s = RETRY_S
            try:
                async with self._http.request(
                    method, self._base + path, data=data, headers=headers, params=query, allow_redirects=False
                ) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as problem:
                why = _why(problem)
                continue
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                why = str(_told(content, answer.status))
                rest_s = _asked_rest(answer.headers.get("Retry-After"))
                continue
            if not answer.ok or answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise _told(content, answer.status)
            return _object(content)
        raise self._away(why)

    def _refused(self, content: bytes, status: int) -> BetterFleetError:
        told = _told(content, status)
        return self._away(str(told)) if status == HTTPStatus.SERVICE_UNAVAILABLE else told

    def _away(self, why: str) -> Unavailable:
        return Unavailable(f"the admin API at {self._base}", why)


def _asked_rest(header: str | None) -> float:
    """Seconds the server asked for; its other form, a date, is taken for nothing."""
    if header is None or not header.isascii() or not header.isdecimal():
        return RETRY_S
    return min(max(float(header[:6]), RETRY_S), RETRY_AT_MOST_S)


def _why(problem: Exception) -> str:
    """What went wrong with a connection, without the library's repetition of the address."""
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted ({problem.certificate_error}): --ca-file names who vouches for it"
    if isinstance(problem, aiohttp.ClientConnectorError):
        reason = problem.os_error.strerror or str(problem.os_error)
        return "connection refused" if "Connect call" in reason else reason.lower()
    return str(problem) or type(problem).__name__


def _object(content: bytes) -> Body:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("the admin API", "the answer is not its: is this the right address?")
    return found


def _told(content: bytes, status: int) -> Refused:
    """What a problem document says; anything else is no more than its status."""
    try:
        problem = orjson.loads(content)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return Refused(status, "", f"HTTP {status}")
    code, detail = str(problem.get("code", "")), str(problem.get("detail", f"HTTP {status}"))
    errors = problem.get("errors")
    fields = tuple(
        (str(each.get("field", "")), str(each.get("message", "")))
        for each in (errors if isinstance(errors, list) else [])
        if isinstance(each, dict)
    )
    return Refused(status, code, detail, fields)


def in_path(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
