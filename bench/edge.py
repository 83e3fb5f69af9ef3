"""`run.py connect` against a NATS of its own: the charger port as it is deployed, with the admission snapshot of a fleet.

There is no core: what it would have told the node is put into the buckets before, and the evidence it would read is counted
in its streams. What runs here to do that is no part of the node's CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from bench import pki
from bench.admission import record_of
from bench.plant import cpu_s_of, end, ready_line
from bench.process import ProcessFailed
from bfactors import subject
from bfactors.fleet.control import CLIENT_TRUST, PAUSES
from bfactors.identity import PARTITIONS
from deploy.embedded import DataDirectory, EmbeddedNats
from deploy.embedded.nats_rights import inbox_prefix
from gateways.nats.gateway import NatsGateway
from gateways.nats.layout import NatsLayout
from gateways.nats.outbox import NatsOutbox
from gateways.nats.settings import NatsSettings

T = TypeVar("T")

_RUN = Path(__file__).parents[1] / "run.py"
_PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Edge:
    """A running connect node, watched from outside."""

    pid: int
    port: int
    watch: Watch

    def cpu_s(self) -> float:
        """CPU seconds of the node so far."""
        return cpu_s_of(self.pid)

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class Watch:
    """The core's side of the node's NATS, on a loop of its own."""

    def __init__(self, url: str, seed_file: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._nats = NatsGateway(
            NatsSettings(servers=(url,), seed_file=seed_file, inbox_prefix=inbox_prefix("core"), name="bench")
        )
        self._run(self._start())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    async def _start(self) -> None:
        await self._nats.start()
        await self._nats.connected(_PATIENCE_S)
        await self._nats.ensure_layout(NatsLayout())

    def admit(self, files: pki.Files, chargers: int) -> None:
        """Put the fleet's admission records and what connect nodes must know into the buckets."""
        outbox = NatsOutbox(self._nats.connection, self._nats.replies, self._nats.publisher)
        not_after = datetime.now(UTC) + pki.VALID
        records = [record_of(files, number, not_after) for number in range(chargers)]
        trusted = msgspec.json.encode([files.issuing.read_text(encoding="ascii")])
        self._run(outbox.put_admission(records))
        self._run(outbox.put_control({CLIENT_TRUST: trusted, PAUSES: b"{}"}))

    def evidence(self) -> int:
        """How much evidence the streams hold."""
        return self._run(self._count())

    async def _count(self) -> int:
        infos = await asyncio.gather(
            *(
                self._nats.replies.request(
                    f"$JS.API.STREAM.INFO.{subject.evidence_stream(n)}", b"", _PATIENCE_S
                )
                for n in range(PARTITIONS)
            )
        )
        return sum(int(json.loads(info.payload)["state"]["messages"]) for info in infos)

    def until(self, evidence: int) -> None:
        """Wait until the streams hold so much. Raises ProcessFailed."""
        deadline = time.monotonic() + _PATIENCE_S
        while (found := self.evidence()) < evidence:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{found} pieces of evidence stored, {evidence} expected")
            time.sleep(_LOOK_AGAIN_S)

    def close(self) -> None:
        self._run(self._nats.close(1.0))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@contextmanager
def edge(folder: Path, files: pki.Files, chargers: int) -> Iterator[Edge]:
    """Start a node that knows so many chargers, and stop it. Belongs to the main thread. Raises ProcessFailed."""
    folder.mkdir(mode=0o711)
    with ExitStack() as stack:
        data = stack.enter_context(DataDirectory.open(folder / "data"))
        nats = EmbeddedNats.start(data)
        stack.callback(nats.stop)
        watch = Watch(nats.url, nats.seed_file("core"))
        stack.callback(watch.close)
        watch.admit(files, chargers)
        pepper = data.secret_file("pepper", lambda: os.urandom(32).hex())
        environment = {
            "BF_NATS_CONNECT_SEED_FILE": str(nats.seed_file("connect")),
            "BF_PEPPER_FILE": str(pepper),
            "BF_SERVER_CHAIN_FILES": str(files.server[0]),
            "BF_SERVER_KEY_FILES": str(files.server[1]),
        }
        process, ready = _connect(folder, nats.url, environment, stack)
        yield Edge(process.pid, int(urlsplit(ready["ocpp_url"]).port or 0), watch)


def _connect(
    folder: Path, nats_url: str, environment: dict[str, str], stack: ExitStack
) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
    log_file = folder / "connect.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, str(_RUN), "connect", "--data-dir", str(folder / "connect"),
                "--ocpp-port", "0", "--health-port", "-1", "--node", "bench", "--nats-url", nats_url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **environment},
        )  # fmt: skip
    stack.callback(end, process)
    return process, ready_line(process, log_file, "run.py connect")
