"""The control plane as an operator's tool sees it: a few reads and one revocation over the admin API."""

from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson


class OperatorConsole:
    """A client of the admin API with one token."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base = base_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = await self.get(path, limit="200", **query, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """One resource. Raises aiohttp.ClientResponseError."""
        assert self._session is not None
        async with self._session.get(self._base + path, params=query) as answer:
            answer.raise_for_status()
            body: dict[str, Any] = orjson.loads(await answer.read())
            return body

    async def post(self, path: str, body: dict[str, Any], key: str) -> dict[str, Any]:
        """One command, under an idempotency key. Raises aiohttp.ClientResponseError."""
        assert self._session is not None
        async with self._session.post(
            self._base + path,
            data=orjson.dumps(body),
            headers={"Content-Type": "application/json", "Idempotency-Key": key},
        ) as answer:
            answer.raise_for_status()
            reply: dict[str, Any] = orjson.loads(await answer.read())
            return reply
