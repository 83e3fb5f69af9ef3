"""`run.py up` as an operator meets it: stopped, interrupted, killed, started twice, started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.child import ChildCommand, ChildProcess
from deploy.embedded.port import lasting_port
from simulator.charger import ChargerSnapshot, Happening
from simulator.fleet import AdminClient, Fleet, FleetPlan
from tests.faults.depot import EAGER, Tally
from tests.faults.plant import RUN, is_process, until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("up")

READY_WITHIN = timedelta(seconds=PATIENCE_S)
STOPPED_WITHIN_S = 10.0


@dataclass(slots=True)
class Up:
    """One life of `run.py up`."""

    process: ChildProcess

    @property
    def text(self) -> str:
        """Everything it wrote, to standard output and standard error."""
        return self.process.command.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def said(self) -> dict[str, Any] | None:
        """The line that says it is ready."""
        for line in self.text.splitlines():
            if line.startswith('{"event":"ready"'):
                found: dict[str, Any] = json.loads(line)
                return found
        return None

    async def ready(self) -> dict[str, Any]:
        await until(lambda: self.said is not None or not self.process.is_alive, "up is ready", READY_WITHIN)
        assert self.said is not None, self.text[-2000:]
        return self.said

    async def ended(self, within_s: float) -> int:
        """Its exit status, once it has ended by itself."""
        await until(lambda: not self.process.is_alive, "up has ended", timedelta(seconds=within_s))
        assert self.process.exit_code is not None
        return self.process.exit_code

    def family(self) -> list[int]:
        """Everything it started, and what those started."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            children = "".join(
                path.read_text(encoding="ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")
            )
            found += (more := [int(child) for child in children.split()])
            queue += more
        return found


@dataclass(frozen=True, slots=True)
class Site:
    """One data directory and its ports, for every life."""

    folder: Path
    ocpp_port: int
    admin_port: int

    @asynccontextmanager
    async def up(self, *more: str, **settings: str) -> AsyncIterator[Up]:
        """Start it, in a process group of its own as a shell does; ended whatever happens."""
        name = f"up-{time.monotonic_ns()}"
        ports = ("--ocpp-port", str(self.ocpp_port), "--admin-port", str(self.admin_port))
        process = ChildProcess.spawn(
            ChildCommand(
                name=name,
                arguments=(sys.executable, str(RUN), "up", "--data-dir", str(self.folder), *ports, *more),
                environment={
                    "PATH": os.environ.get("PATH", ""),
                    "LC_ALL": "C",
                    "TZ": "UTC",
                    "BF_LOG_PORT": "0",
                    **settings,
                },
                log_file=self.folder.with_name(f"{name}.log"),
                pid_file=self.folder.with_name(f"{name}.pid"),
                stop_signal=signal.SIGTERM,
            )
        )
        try:
            yield Up(process)
        finally:
            process.stop(timedelta(seconds=STOPPED_WITHIN_S))

    def fleet(self, passwords: dict[str, str], roots: tuple[str, ...], plan: FleetPlan, **more: Any) -> Fleet:
        return Fleet(
            [
                plan.configuration(each, password=passwords[each.charger_id], csms_roots=roots)
                for each in plan.planned()
            ],
            **more,
        )

    def plan(self, seed: int, chargers: int) -> FleetPlan:
        url = f"wss://localhost:{self.ocpp_port}/ocpp"
        return FleetPlan(chargers=chargers, target_url=url, prefix="up", seed=seed, reconnect=EAGER)

    def admin(self, said: dict[str, Any]) -> AdminClient:
        token = Path(said["admin_token_file"]).read_text(encoding="ascii").strip()
        return AdminClient(said["admin_url"], token, attempts=60, retry_s=0.2)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    home = Path(tempfile.mkdtemp(prefix="bf-up-"))
    home.chmod(0o711)
    try:
        yield Site(home / "d", lasting_port(), lasting_port())
    finally:
        shutil.rmtree(home, ignore_errors=True)


def back_after(sessions: int) -> Callable[[ChargerSnapshot], bool]:
    return lambda seen: seen.is_accepted and seen.sessions > sessions


async def gone(pids: list[int]) -> None:
    await until(lambda: not any(is_process(pid) for pid in pids), "no child is left")


async def test_after_kill_9_no_child_lives_on_and_a_new_start_continues(site: Site) -> None:
    plan = site.plan(seed=1, chargers=6)
    async with site.up() as life:
        said = await life.ready()
        async with site.admin(said) as admin:
            roots = await admin.server_roots()
            enrolment = await admin.enrol(plan, plan.planned())
            fleet = site.fleet(enrolment.passwords, roots, plan)
            tally = Tally(fleet)
            await fleet.start()
            await admin.order("issue", list(enrolment.passwords), "first")
            await tally.reaches(Happening.CERTIFICATE_PROVEN, 6, PATIENCE_S)
        family = life.family()
        assert set(said["pids"].values()) <= set(family)
        life.process.kill()
        await gone(family)
    try:
        began = time.monotonic()
        sessions = {c.configuration.charger_id: c.snapshot().sessions for c in fleet.chargers}
        async with site.up() as life:
            await life.ready()
            for charger in fleet.chargers:
                had = sessions[charger.configuration.charger_id]
                seen = await charger.wait_for(back_after(had), PATIENCE_S)
                assert seen.security_profile == 3
            print(f"everyone is back {time.monotonic() - began:.1f} s after the new start")
            os.kill(life.process.pid, signal.SIGTERM)
            assert await life.ended(STOPPED_WITHIN_S) == 0
    finally:
        await fleet.stop()


async def test_sigterm_under_load_ends_it_with_status_0_within_10_s_and_nothing_is_left(site: Site) -> None:
    plan = site.plan(seed=2, chargers=40)
    async with site.up() as life:
        said = await life.ready()
        async with site.admin(said) as admin:
            roots = await admin.server_roots()
            enrolment = await admin.enrol(plan, plan.planned())
            fleet = site.fleet(enrolment.passwords, roots, plan)
            tally = Tally(fleet)
            await fleet.start()
            try:
                await admin.order("issue", list(enrolment.passwords), "second")
                await tally.reaches(Happening.CERTIFICATE_ACCEPTED, 5, PATIENCE_S)
                family = life.family()
                began = time.monotonic()
                os.kill(life.process.pid, signal.SIGTERM)
                assert await life.ended(STOPPED_WITHIN_S) == 0
                print(f"stopped {time.monotonic() - began:.1f} s after SIGTERM")
                await gone(family)
            finally:
                await fleet.stop()


async def test_ctrl_c_leaves_no_orphan(site: Site) -> None:
    async with site.up() as life:
        await life.ready()
        family = life.family()
        os.killpg(life.process.pid, signal.SIGINT)
        assert await life.ended(STOPPED_WITHIN_S) == 0
        await gone(family)


async def test_ctrl_c_while_it_starts_leaves_no_orphan(site: Site) -> None:
    async with site.up() as life:
        await until(lambda: len(life.family()) > 0 or not life.process.is_alive, "a child runs")
        family = life.family()
        os.killpg(life.process.pid, signal.SIGINT)
        assert await life.ended(STOPPED_WITHIN_S) in (0, 130), life.text
        await gone(family)


@pytest.mark.parametrize("flag", ["--ocpp-port", "--admin-port"])
async def test_a_taken_port_is_one_clear_line_and_status_2(site: Site, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with site.up(flag, str(port)) as life:
            assert await life.ended(READY_WITHIN.total_seconds()) == 2
    last = life.text.splitlines()[-1]
    assert last.startswith("run.py up: ")
    assert str(port) in last
    assert "Traceback" not in life.text


async def test_a_second_one_on_the_same_data_is_refused_and_the_first_goes_on(site: Site) -> None:
    async with site.up() as first:
        await first.ready()
        async with site.up("--ocpp-port", "0", "--admin-port", "0") as second:
            assert await second.ended(READY_WITHIN.total_seconds()) == 2
        assert second.text.splitlines() == [second.text.splitlines()[0]]
        assert str(first.process.pid) in second.text
        assert first.process.is_alive


async def test_it_starts_while_the_ca_is_away_and_shows_chargers_the_certificates_it_has(site: Site) -> None:
    async with site.up() as first:
        await first.ready()
    files = [*(site.folder / "server").glob("*.pem")]
    before = {path: path.read_bytes() for path in files}
    arn = (
        "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/11111111-2222-3333-4444-555555555555"
    )
    away = {
        "BF_AWS_ENDPOINT_URL": f"http://127.0.0.1:{lasting_port()}",
        "BF_AWS_ACCESS_KEY_ID": "nobody",
        "BF_AWS_SECRET_ACCESS_KEY": "nothing",
        "BF_AWS_CHARGING_STATION_CA_ARN": arn,
        "BF_AWS_BACKEND_SERVER_CA_ARN": arn.replace("1111", "9999", 1),
    }
    async with site.up(**away) as life:
        lacks = {"ca:charging_station", "ca:backend_server"}
        admin_url = f"http://127.0.0.1:{site.admin_port}"
        await until(
            lambda: lacks <= set(missing_of(admin_url)), "it says that the CAs are away", READY_WITHIN
        )
        assert life.said is None, "without a CA it is not ready, and says so"
        trusted = ssl.create_default_context(cadata=await asyncio.to_thread(anchors_of, admin_url))
        _, writer = await asyncio.open_connection(
            "127.0.0.1", site.ocpp_port, ssl=trusted, server_hostname="localhost"
        )
        writer.close()
    assert {path: path.read_bytes() for path in files} == before


def anchors_of(admin_url: str) -> str:
    with urllib.request.urlopen(f"{admin_url}/api/v1/trust/central_system.pem", timeout=5) as answer:
        return str(answer.read().decode())


def missing_of(admin_url: str) -> list[str]:
    try:
        with urllib.request.urlopen(f"{admin_url}/readyz", timeout=5) as answer:
            found = json.load(answer)
    except urllib.error.HTTPError as refused:
        found = json.load(refused)
    except OSError:
        return ["nobody is listening yet"]
    return list(found["missing"])
