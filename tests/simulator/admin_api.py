"""The part of the admin API a fleet uses, scripted: registers chargers with a central system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.simulator.central_system import CentralSystem


class AdminApi:
    """Gives every new charger a password that the central system then knows; `busy` answers come first."""

    def __init__(self, csms: CentralSystem, roots_pem: str, *, busy: int = 0) -> None:
        self._csms = csms
        self._roots_pem = roots_pem
        self.busy = busy
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.answered: dict[str, dict[str, Any]] = {}
        self.refuses: set[str] = set()
        self.base = ""

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[AdminApi]:
        app = web.Application()
        app.router.add_get("/api/v1/trust/central_system.pem", self._trust)
        app.router.add_post("/api/v1/chargers", self._register)
        app.router.add_post("/api/v1/jobs", self._order)
        app.router.add_post("/api/v1/chargers/{charger_id}/migration", self._order)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _trust(self, request: web.Request) -> web.Response:
        return web.Response(text=self._roots_pem)

    async def _register(self, request: web.Request) -> web.Response:
        body = await self._note(request)
        if self.busy:
            self.busy -= 1
            return web.json_response({"title": "starting"}, status=503, headers={"Retry-After": "0"})
        if request.headers.get("Authorization") != "Bearer let-me-in":
            return web.json_response({"title": "Unauthorized"}, status=401)
        charger_id = body["charger_id"]
        if charger_id in self.refuses:
            return web.json_response({"title": "Refused", "detail": "no such family"}, status=422)
        key = request.headers["Idempotency-Key"]
        if key in self.answered:
            return web.json_response(body | {"key_shown": True}, status=201)
        self.answered[key] = body
        self._csms.passwords[charger_id] = f"password-of-{charger_id}"
        shown = {"authorization_key": self._csms.passwords[charger_id]}
        return web.json_response(body | shown, status=201)

    async def _order(self, request: web.Request) -> web.Response:
        await self._note(request)
        return web.json_response({"job_id": "1"}, status=202)

    async def _note(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.requests.append((request.path, request.headers.get("Idempotency-Key", ""), body))
        return body
