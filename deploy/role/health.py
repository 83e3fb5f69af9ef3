"""A connect node's probes and numbers: three plain routes, for a process that has no admin API."""

from collections.abc import Callable

from aiohttp import web

from bfactors.errors import SettingsError
from gateways.metrics import PrometheusMetrics


class HealthServer:
    """`/healthz`, `/readyz` and `/metrics`. Made and used on the I/O lane."""

    def __init__(self, metrics: PrometheusMetrics, missing: Callable[[], list[str]]) -> None:
        self._metrics = metrics
        self._missing = missing
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, host: str, port: int) -> None:
        """Port 0 takes any free one. Raises SettingsError for one that is taken."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/healthz", self._live)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._numbers)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as problem:
            await runner.cleanup()
            raise SettingsError(f"health port {host}:{port} cannot be used: {problem.strerror}") from problem
        self._runner = runner
        self.url = f"http://{host}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Harmless when it never started."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _ready(self, request: web.Request) -> web.Response:
        missing = self._missing()
        return web.json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def _numbers(self, request: web.Request) -> web.Response:
        page, content_type = self._metrics.exposition()
        return web.Response(body=page, headers={"Content-Type": content_type})
