"""The fleet owner's side: registering chargers and ordering work through the admin API."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import orjson

from simulator.fleet.plan import FleetPlan, PlannedCharger

Job = Literal["issue", "migrate"]


class AdminRefused(Exception):
    """The admin API said no, or never answered; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What registering a fleet gave: passwords by charger id, and a reason for each one that failed."""

    passwords: dict[str, str] = field(repr=False)
    refused: dict[str, str]


class AdminClient:
    """A client of the admin API at `base` (http or https), `requests_at_once` at a time.

    A POST is repeated under the same Idempotency-Key while the answer is 503 or none at all, waiting
    as long as Retry-After says, `attempts` times in all.
    """

    def __init__(
        self, base: str, token: str, *, requests_at_once: int = 8, attempts: int = 8, retry_s: float = 1.0
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._attempts = attempts
        self._retry_s = retry_s
        self._turns = asyncio.Semaphore(requests_at_once)
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token}"}, timeout=aiohttp.ClientTimeout(total=30)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def server_roots(self) -> tuple[str, ...]:
        """The anchors a charger needs before it can connect, one PEM each.

        Raises: AdminRefused.
        """
        text = (await self._send("GET", "/api/v1/trust/central_system.pem", None, "")).decode()
        end = "-----END CERTIFICATE-----"
        roots = tuple(f"{part.strip()}\n{end}\n" for part in text.split(end) if part.strip())
        if not roots:
            raise AdminRefused("GET /api/v1/trust/central_system.pem: no certificate in it")
        return roots

    async def enrol(
        self, plan: FleetPlan, chargers: Iterable[PlannedCharger], done: Callable[[], None] = lambda: None
    ) -> Enrolment:
        """Register chargers; `done` is called after each."""
        result = Enrolment({}, {})

        async def one(planned: PlannedCharger) -> None:
            try:
                result.passwords[planned.charger_id] = await self._register(plan, planned)
            except AdminRefused as error:
                result.refused[planned.charger_id] = str(error)
            done()

        async with asyncio.TaskGroup() as tasks:
            for planned in chargers:
                tasks.create_task(one(planned))
        return result

    async def order(self, job: Job, charger_ids: Iterable[str], occasion: str) -> dict[str, str]:
        """Ask for a certificate or a migration to profile 3; the answer is a reason for each one that failed.

        Repeating it with the same `occasion` orders nothing twice.
        """
        refused: dict[str, str] = {}

        async def one(charger_id: str) -> None:
            if job == "issue":
                path = "/api/v1/jobs"
                body: dict[str, Any] = {
                    "charger_id": charger_id,
                    "purpose": "charging_station",
                    "action": "issue",
                    "reason": "simulated fleet",
                }
            else:
                path, body = f"/api/v1/chargers/{charger_id}/migration", {"target_profile": 3}
            try:
                await self._send("POST", path, body, _key(occasion, job, charger_id))
            except AdminRefused as error:
                refused[charger_id] = str(error)

        async with asyncio.TaskGroup() as tasks:
            for charger_id in charger_ids:
                tasks.create_task(one(charger_id))
        return refused

    async def _register(self, plan: FleetPlan, planned: PlannedCharger) -> str:
        body = {
            "charger_id": planned.charger_id,
            "serial_number": planned.serial_number,
            "family": planned.family.name,
            "site": planned.site,
            "cohort": planned.cohort,
            "security_profile": 2 if plan.target_url.startswith("wss://") else 1,
            "target_security_profile": 3,
            "ocpp_versions": [planned.ocpp_version.value],
            "organization": plan.organization,
        }
        answer = await self._send(
            "POST", "/api/v1/chargers", body, _key("enrol", orjson.dumps(body).decode())
        )
        charger = orjson.loads(answer)
        key = charger.get("authorization_key")
        if isinstance(key, str):
            return key
        raise AdminRefused(
            "its authorization key was shown before: use the --state-file of that time, or another --seed"
        )

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, key: str) -> bytes:
        """One request, repeated while it is worth it.

        Raises: AdminRefused.
        """
        problem = ""
        async with self._turns:
            for _ in range(self._attempts):
                pause_s = self._retry_s
                try:
                    async with self._http.request(
                        method,
                        self._base + path,
                        data=None if body is None else orjson.dumps(body),
                        headers={"Idempotency-Key": key, "Content-Type": "application/json"} if key else None,
                    ) as response:
                        answer = await response.read()
                        if response.status < 300:
                            return answer
                        problem = f"HTTP {response.status} {_reason(answer)}"
                        if response.status != 503:
                            break
                        pause_s = _retry_after_s(response.headers.get("Retry-After"), pause_s)
                except (aiohttp.ClientError, TimeoutError) as error:
                    problem = str(error) or type(error).__name__
                await asyncio.sleep(pause_s)
        raise AdminRefused(f"{method} {path}: {problem}")


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _retry_after_s(header: str | None, otherwise: float) -> float:
    """Seconds out of Retry-After; a date, which this API does not send, counts as none."""
    try:
        return max(0.0, float(header)) if header is not None else otherwise
    except ValueError:
        return otherwise


def _reason(answer: bytes) -> str:
    """Title and detail of a problem document (RFC 9457)."""
    try:
        problem = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return ""
    if not isinstance(problem, dict):
        return ""
    return ": ".join(str(problem[name]) for name in ("title", "detail") if problem.get(name))
