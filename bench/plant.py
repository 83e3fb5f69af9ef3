"""`run.py up` against servers of its own: PostgreSQL, NATS and the AWS peer run beside it, so its CPU is ours alone."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any

import asyncpg

from bench.process import ProcessFailed
from deploy.embedded import DataDirectory, EmbeddedNats, EmbeddedPostgres
from deploy.embedded.aws import EmbeddedAws
from persistence.role import ROLES, ensure_roles

_RUN = Path(__file__).parents[1] / "run.py"
_READY_WITHIN_S = 60.0
_ENDS_WITHIN_S = 15.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
CA_CALLS_PER_S = 500.0
"""No limit that could be felt: CPU is measured here, not how long the CA lets us wait."""


@dataclass(frozen=True, slots=True)
class Plant:
    """The running system and where its parts are."""

    pid: int
    ocpp_url: str
    admin_url: str
    token: str
    aws_url: str
    authority_arn: str
    reader_dsn: str

    def cpu_s(self) -> float:
        """CPU seconds of `run.py up` so far."""
        return cpu_s_of(self.pid)

    def threads(self) -> dict[str, float]:
        """CPU seconds of every thread, by number: Python 3.11 does not tell the kernel their names."""
        found = {}
        for task in sorted(Path(f"/proc/{self.pid}/task").iterdir(), key=lambda path: int(path.name)):
            found[task.name] = int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return found

    def events(self) -> dict[str, int]:
        """How many of each ledger event there are, read past the system so that counting costs it nothing."""

        async def read() -> dict[str, int]:
            connection = await asyncpg.connect(self.reader_dsn)
            try:
                rows = await connection.fetch("SELECT event, count(*) FROM event GROUP BY event")
            finally:
                await connection.close()
            return dict(rows)

        return asyncio.run(read())


@contextmanager
def plant(folder: Path) -> Iterator[Plant]:
    """Start everything, and stop everything. Belongs to the main thread. Raises ProcessFailed."""
    folder.chmod(0o711)  # PostgreSQL's account must pass through to its own folder
    with ExitStack() as stack:
        data = stack.enter_context(DataDirectory.open(folder / "data"))
        postgres = EmbeddedPostgres.start(data)
        stack.callback(postgres.stop)
        nats = EmbeddedNats.start(data)
        stack.callback(nats.stop)
        aws = EmbeddedAws.start(data, options=("--unlimited",))
        stack.callback(aws.stop)
        asyncio.run(ensure_roles(postgres.dsn(), {role: postgres.password(role) for role in ROLES}))
        home = folder / "up"
        arn = aws.authorities["charger-identity"].issuing_arn
        process, ready = _up(
            home,
            folder / "up.log",
            {
                "BF_POSTGRES_OWNER_DSN": postgres.dsn("bf_owner"),
                "BF_POSTGRES_WRITER_DSN": postgres.dsn("bf_writer"),
                "BF_POSTGRES_READER_DSN": postgres.dsn("bf_reader"),
                "BF_NATS_URL": nats.url,
                "BF_NATS_CORE_SEED_FILE": str(nats.seed_file("core")),
                "BF_NATS_CONNECT_SEED_FILE": str(nats.seed_file("connect")),
                "BF_AWS_ENDPOINT_URL": aws.url,
                "BF_AWS_ACCESS_KEY_ID": "peer",
                "BF_AWS_SECRET_ACCESS_KEY": "peer",
                "BF_AWS_CHARGING_STATION_CA_ARN": arn,
                "BF_AWS_BACKEND_SERVER_CA_ARN": aws.authorities["backend-server"].issuing_arn,
                "BF_CA_CALLS_PER_S": str(CA_CALLS_PER_S),
            },
            stack,
        )
        yield Plant(
            pid=process.pid,
            ocpp_url=ready["ocpp_url"],
            admin_url=ready["admin_url"],
            token=Path(ready["admin_token_file"]).read_text(encoding="ascii").strip(),
            aws_url=aws.url,
            authority_arn=arn,
            reader_dsn=postgres.dsn("bf_reader"),
        )


def cpu_s_of(pid: int) -> float:
    """CPU seconds of a process so far, all threads; the kernel counts in hundredths."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _up(
    home: Path, log_file: Path, environment: dict[str, str], stack: ExitStack
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                str(_RUN),
                "up",
                "--data-dir",
                str(home),
                "--ocpp-port",
                "0",
                "--admin-port",
                "0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "BF_LOG_PORT": "0", **environment},
        )
    stack.callback(end, process)
    return process, ready_line(process, log_file, "run.py up")


def ready_line(process: subprocess.Popen[bytes], log_file: Path, what: str) -> dict[str, Any]:
    """The one JSON line a role prints when it is ready. Raises ProcessFailed."""
    assert process.stdout is not None
    is_ready, _, _ = select([process.stdout], [], [], _READY_WITHIN_S)
    line = process.stdout.readline() if is_ready else b""
    if not line:
        raise ProcessFailed(f"{what}: {log_file.read_text(errors='replace')[-2000:]}")
    ready: dict[str, Any] = json.loads(line)
    return ready


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a role as an operator does; by force if that takes too long."""
    process.terminate()
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
