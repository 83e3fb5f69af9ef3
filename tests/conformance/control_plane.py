"""`run.py up` as a process, and its operator: what stands on the other side of the wire. Imports nothing of the product."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import select
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

RUN = Path(__file__).parents[2] / "run.py"
READY_WITHIN_S = 60.0
ENDS_WITHIN_S = 12.0
_LOOK_AGAIN_S = 0.03

Body = dict[str, Any]
T = TypeVar("T")
_keys = itertools.count(1)


@dataclass(slots=True)
class ControlPlane:
    """A running control plane; its methods that ask the admin API block for a moment."""

    process: subprocess.Popen[bytes]
    folder: Path
    ocpp_url: str
    admin_url: str
    token: str
    anchors_pem: str

    @classmethod
    @contextmanager
    def running(cls, **settings: str) -> Iterator[ControlPlane]:
        """One in a directory of its own, which is gone afterwards. Ends as `stop` does, with status 0."""
        with tempfile.TemporaryDirectory(prefix="bf-up-", ignore_cleanup_errors=True) as folder:
            plane = cls.start(Path(folder), **settings)
            status = None
            try:
                yield plane
            finally:
                status = plane.stop()
            assert status == 0, f"run.py up ended with status {status}"

    @classmethod
    def start(cls, folder: Path, **settings: str) -> ControlPlane:
        """Returns when it says that it is ready. `settings` are BF_* variables without their prefix."""
        folder.chmod(0o711)  # PostgreSQL's account must get through it to the data directory
        log = folder / "up.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BF_")}
        environment["BF_LOG_PORT"] = "0"
        environment |= {f"BF_{name.upper()}": value for name, value in settings.items()}
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [
                    *(sys.executable, str(RUN), "up", "--data-dir", str(folder / "data")),
                    *("--ocpp-port", "0", "--admin-port", "0"),
                ],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
            )
        try:
            said = json.loads(_first_line(process) or b"{}")
            assert said.get("event") == "ready", log.read_text(errors="replace")[-3000:]
            token = Path(said["admin_token_file"]).read_text().strip()
            with urllib.request.urlopen(f"{said['admin_url']}/api/v1/trust/central_system.pem") as answer:
                anchors = answer.read().decode()
            return cls(process, folder, said["ocpp_url"], said["admin_url"], token, anchors)
        except BaseException:
            process.kill()
            process.wait()
            raise

    def second_person(self) -> ControlPlane:
        """The same one as somebody else's: with a token made as the runbook says."""
        data = self.folder / "data"
        dsn = f"postgresql://bf_writer@/postgres?host={data}/postgres/socket&passfile={data}/secrets/pgpass"
        name = f"person-{next(_keys)}"
        made = subprocess.run(
            [
                *(sys.executable, str(RUN), "token", "create", name, "--role", "pki-admin"),
                *("--postgres-writer-dsn", dsn),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        return dataclasses.replace(self, token=made.stdout.split()[-1])

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def port(self) -> int:
        """Of the chargers' TLS endpoint."""
        port = urlsplit(self.ocpp_url).port
        assert port is not None
        return port

    @property
    def anchors(self) -> list[str]:
        """What a charger needs to trust this system, one PEM each."""
        ending = "-----END CERTIFICATE-----\n"
        return [part + ending for part in self.anchors_pem.split(ending) if part.strip()]

    def tls(self) -> ssl.SSLContext:
        """A client that verifies the server and its name."""
        return ssl.create_default_context(cadata=self.anchors_pem)

    # ------------------------------------------------------------ the operator

    async def get(self, path: str) -> Body:
        return await asyncio.to_thread(self._ask, "GET", path, None)

    async def items(self, path: str) -> list[Body]:
        """The first page of a list."""
        found: list[Body] = (await self.get(path))["items"]
        return found

    async def post(self, path: str, body: Body) -> Body:
        return await asyncio.to_thread(self._ask, "POST", path, body)

    async def put(self, path: str, body: Body) -> Body:
        return await asyncio.to_thread(self._ask, "PUT", path, body)

    async def patch(self, path: str, body: Body) -> Body:
        return await asyncio.to_thread(self._ask, "PATCH", path, body)

    async def order(self, charger_id: str, action: str = "issue", **more: Any) -> str:
        """A certificate job; its id."""
        body = {"charger_id": charger_id, "purpose": "charging_station", "action": action, "reason": "TC"}
        return str((await self.post("/api/v1/jobs", body | more))["job_id"])

    async def job(self, job_id: str) -> Body:
        return await self.get(f"/api/v1/jobs/{job_id}")

    async def charger(self, charger_id: str) -> Body:
        return await self.get(f"/api/v1/chargers/{charger_id}")

    async def until_job(self, job_id: str, holds: Callable[[Body], object]) -> Body:
        return await self._until(lambda: self._ask("GET", f"/api/v1/jobs/{job_id}", None), holds)

    async def until_charger(self, charger_id: str, holds: Callable[[Body], object]) -> Body:
        return await self._until(lambda: self._ask("GET", f"/api/v1/chargers/{charger_id}", None), holds)

    async def until_items(
        self, path: str, holds: Callable[[list[Body]], object], within_s: float = PATIENCE_S
    ) -> list[Body]:
        def look() -> list[Body]:
            found: list[Body] = self._ask("GET", path, None)["items"]
            return found

        return await self._until(look, holds, within_s)

    async def _until(
        self, look: Callable[[], T], holds: Callable[[T], object], within_s: float = PATIENCE_S
    ) -> T:
        """Look again and again, for another process rings no bell here."""
        never = asyncio.Event()
        deadline = time.monotonic() + within_s
        while not holds(found := await asyncio.to_thread(look)):
            assert time.monotonic() < deadline, f"not within {within_s:g} s; now {found}"
            try:
                await asyncio.wait_for(never.wait(), _LOOK_AGAIN_S)
            except TimeoutError:
                continue
        return found

    def _ask(self, method: str, path: str, body: Body | None) -> Body:
        """The answer; asked again under the same key while it is 503, as the API says, or none at all."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if method != "GET":
            headers["Idempotency-Key"] = f"tc-{next(_keys)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.admin_url + path, data, headers, method=method)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    found: Body = json.loads(answer.read())
                    return found
            except urllib.error.HTTPError as problem:
                if problem.code != 503 or time.monotonic() > deadline:
                    text = problem.read().decode()
                    raise AssertionError(f"{method} {path}: {problem.code} {text}") from None
                threading.Event().wait(_LOOK_AGAIN_S)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        readable, _, _ = select.select([process.stdout], [], [], 0.2)
        if readable:
            return process.stdout.readline()
    return b""
