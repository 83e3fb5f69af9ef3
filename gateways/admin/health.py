"""Whether the process lives, whether it can work, and its numbers."""

import inspect

import msgspec

from gateways.admin.dependencies import AdminDependencies
from gateways.admin.ports import Readiness
from gateways.admin.route import Answer, Call, Route


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "ok"


class Health:
    """Probes; they come by address, hence under any Host."""

    def __init__(self, dependencies: AdminDependencies) -> None:
        self._readiness = dependencies.readiness
        self._exposition = dependencies.exposition

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/healthz",
                operation="health.live",
                summary="Whether the process lives",
                handler=self.live,
                answer=Live,
                any_host=True,
            ),
            Route(
                method="GET",
                path="/readyz",
                operation="health.ready",
                summary="Whether the process can do its work; 503 with what is missing if not",
                handler=self.ready,
                answer=Readiness,
                any_host=True,
            ),
            Route(
                method="GET",
                path="/metrics",
                operation="health.metrics",
                summary="Numbers for Prometheus",
                handler=self.numbers,
                answer=str,
                content_type="text/plain",
                any_host=True,
            ),
        )

    async def live(self, call: Call) -> Answer:
        return Answer(Live())

    async def ready(self, call: Call) -> Answer:
        found = self._readiness()
        readiness = await found if inspect.isawaitable(found) else found
        return Answer(readiness, 200 if readiness.ready else 503)

    async def numbers(self, call: Call) -> Answer:
        page, content_type = self._exposition()
        return Answer(page, headers={"Content-Type": content_type})
