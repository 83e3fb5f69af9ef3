"""The operator's tool in front of an admin API that behaves as told, with time that passes only while the tool waits."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from deploy.command import ctl
from deploy.ctl.command import filled
from deploy.ctl.connection import connection_of
from deploy.ctl.paper import Paper
from deploy.ctl.report import COLUMNS

CHARGER: dict[str, Any] = {
    "charger_id": "CP-1",
    "family": "acme",
    "session": {"ocpp_version": "2.0.1", "security_profile": 2, "fingerprint_sha256": None},
    "boot": {"firmware_version": "1.2"},
    "capabilities": {},
    "slots": [],
}
Answer = tuple[int, Any]
TODAY = "2026-03-01"
LOST = object()
"""An answer that never arrives: the connection is cut behind the request."""


class Api:
    """Answers by method and path; the last of several answers stays. Everything else is no route of it."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = defaultdict(list)
        self.asked: list[tuple[str, str, Any, str]] = []
        self.last_ids: list[str] = []
        self.queries: list[dict[str, str]] = []
        self.does: dict[tuple[str, str], Callable[[web.Request, Any], Awaitable[Answer]]] = {}
        """What answers instead of a canned answer."""
        self.headers = {"Location": "/elsewhere"}
        self.says("GET", "/api/v1/chargers/CP-1", CHARGER)

    def says(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answers[method, path].append((status, body))

    def job(self, path: str = "/api/v1/jobs", **more: Any) -> None:
        job = {
            "job_id": "j1",
            "state": "succeeded",
            "stage": "done",
            "waiting_for": None,
            "reason": None,
            "certificate_id": None,
            "timeline": [],
        } | more
        self.says("POST", path, job, 202)
        self.answers["GET", "/api/v1/jobs/j1"] = [(200, job)]

    async def serve(self, request: web.Request) -> web.Response:
        body: Any = None
        if request.can_read_body:
            is_json = request.content_type == "application/json"
            body = await request.json() if is_json else await request.read()
        self.asked.append((request.method, request.path, body, request.headers.get("Idempotency-Key", "")))
        self.queries.append(dict(request.query))
        if request.path.endswith("/events"):
            self.last_ids.append(request.headers.get("Last-Event-ID", ""))
        doing = self.does.get((request.method, request.path))
        if doing is not None:
            return self._answer(request, *await doing(request, body))
        waiting = self.answers.get((request.method, request.path))
        if not waiting:
            return web.json_response({"code": "unknown-resource", "detail": "nothing here"}, status=404)
        return self._answer(request, *(waiting.pop(0) if len(waiting) > 1 else waiting[0]))

    def _answer(self, request: web.Request, status: int, answer: Any) -> web.Response:
        if answer is LOST:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, bytes):
            return web.Response(body=answer, status=status)
        return web.json_response(answer, status=status, headers=self.headers)

    def sent(self, method: str, path: str) -> list[Any]:
        return [body for way, where, body, _ in self.asked if (way, where) == (method, path)]


class Time:
    """Passes only while the tool waits."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    async def wait(self, seconds: float) -> None:
        self.seconds += seconds


class RealTime(Time):
    """For a system that does not wait for us."""

    def now(self) -> float:
        return time.monotonic()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Said:
    """One run of the tool."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return (self.out + self.err).splitlines()

    @property
    def body(self) -> Any:
        return json.loads(self.out)


@asynccontextmanager
async def serving(api: Api) -> AsyncIterator[str]:
    """The API on a socket; its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def options(*words: str) -> argparse.Namespace:
    """What the command line makes of these words."""
    top = argparse.ArgumentParser()
    ctl.add(top.add_subparsers())
    return top.parse_args(["ctl", *words])


async def run(url: str, token: Path, passing: Time, *words: str) -> Said:
    """One command; every line it prints fits."""
    return await typed(url, token, passing, None, *words)


async def typed(url: str, token: Path, passing: Time, answer: str | None, *words: str) -> Said:
    """The same with somebody at the terminal who answers every question so."""
    given = filled(options(*words))
    out, err = io.StringIO(), io.StringIO()
    paper = Paper(out, err, columns=COLUMNS, live=False, as_json=given.json)
    connection = connection_of(url, token, None, {})
    status = await ctl.connected(
        given.chosen, given, connection, paper, passing.wait, passing.now, lambda: TODAY, lambda _: answer
    )
    said = Said(status, out.getvalue(), err.getvalue())
    too_wide = [line for line in said.err.splitlines() if len(line) > COLUMNS]
    if not given.json:
        too_wide += [line for line in said.out.splitlines() if len(line) > COLUMNS]
    assert too_wide == []
    return said
