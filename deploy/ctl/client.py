"""The admin API as the operator's tool asks it: one token, repeats under one Idempotency-Key, refusals as they were given."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from bfactors.errors import BetterFleetError, SettingsError, Unavailable

Body = dict[str, Any]
Wait = Callable[[float], Awaitable[None]]

ATTEMPTS = 6
RETRY_S = 1.0
REQUEST_WITHIN_S = 90.0
"""Longer than the API lets a charger take to answer a call by hand."""
PAGE = 200


class Refused(BetterFleetError):
    """The API said no; `status` is HTTP's, `code` the reason's, the text what it said."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code

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
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._trust = trust
        self._attempts = attempts
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

    async def post(self, path: str, body: Body, key: str) -> Body:
        """Raises Refused, Unavailable. Repeated under `key` while the answer is lost or asks to come again."""
        return await self._asked("POST", path, body, key)

    async def items(self, path: str, query: Mapping[str, str], limit: int) -> list[Body]:
        """The first `limit` items of a list. Raises Refused, Unavailable."""
        found: list[Body] = []
        cursor: str | None = None
        while len(found) < limit:
            page = {**query, "limit": str(min(PAGE, limit - len(found)))} | (
                {"cursor": cursor} if cursor else {}
            )
            answer = await self.get(path, page)
            found += answer["items"]
            cursor = answer["next_cursor"]
            if cursor is None:
                break
        return found[:limit]

    async def _asked(
        self, method: str, path: str, body: Body | None, key: str, query: Mapping[str, str] | None = None
    ) -> Body:
        headers = {"Idempotency-Key": key} if key else {}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = orjson.dumps(body)
        why = ""
        for attempt in range(self._attempts):
            if attempt:
                await self.wait(RETRY_S)
            try:
                async with self._http.request(
                    method, self._base + path, data=data, headers=headers, params=query, allow_redirects=False
                ) as answer:
                    content = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as problem:
                why = str(problem) or type(problem).__name__
                continue
            if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
                why = _told(content, answer.status).args[0]
                continue
            if not answer.ok or answer.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise _told(content, answer.status)
            return _object(content)
        raise Unavailable(f"the admin API at {self._base}", why)


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
    return Refused(status, code, detail)


def in_path(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def token_of(path: Path) -> str:
    """The token in a file. Raises SettingsError."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the token file {path} cannot be read: {problem}") from problem
    if not token or any(mark.isspace() for mark in token):
        raise SettingsError(f"the token file {path} holds no token")
    return token


def checked_address(url: str) -> str:
    """The API's address. Raises SettingsError for one that is none, or over which the token would travel in the clear."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as problem:
        raise SettingsError(f"--admin {url} is no address: {problem}") from problem
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"--admin must be http://host:port or https://host:port, not {url}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(f"--admin {url} would send the token in the clear: use https")
    return url


def trust_of(path: Path | None) -> ssl.SSLContext | None:
    """Who may vouch for the API's certificate, besides nobody. Raises SettingsError."""
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as problem:
        raise SettingsError(f"--ca-file {path} cannot be used: {problem}") from problem


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
