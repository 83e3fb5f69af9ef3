"""Our charger port as a node runs it: gateway, door, chargers' actors on a family lane - without NATS.

The evidence log acknowledges at once, in memory; what NATS costs is the `enrolment` benchmark's business.
"""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from actors.charger import ChargerPorts
from actors.charger_door import Door
from bench import pki
from bench.admission import record_of
from bench.process import serve, settings_of_this_process
from bfactors.admission import AdmissionRecord
from bfactors.evidence import Evidence
from bfactors.identity_rule import verify_with
from bfactors.instruction import InstructionOrder
from deploy.role.clock import SystemClock
from deploy.role.runtime import Runtime
from gateways.metrics import PrometheusMetrics
from gateways.ocpp.server import Gateway
from gateways.ocpp.tls import FrontTls, ServerIdentity
from supervisors.charger_lanes import ChargerLanes

_SETTLED_S = 30.0
_LOOK_AGAIN_S = 0.005


class Acknowledging:
    """`EvidenceLog`, `Relay` and `EdgeReporter` that are done at once; counts what it was given."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.trouble: list[str] = []

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        self.kinds[type(evidence.body).__name__] += 1

    async def publish(self, charger_id: str, action: str, message_id: str, payload: bytes) -> None:
        pass

    def connection_refused(
        self,
        charger_id: str,
        remote_address: str,
        reason: str,
        http_status: int,
        fingerprint_sha256: str | None,
    ) -> None:
        self.trouble.append(f"{charger_id}: {reason}")

    def handshake_failed(self, remote_address: str) -> None:
        self.trouble.append("a handshake failed")


class Records:
    """`AdmissionView` and `InstructionInbox` of a fleet that does not change and is told nothing."""

    ready = True
    age_s = 0.0

    def __init__(self, files: pki.Files, chargers: int, not_after: datetime) -> None:
        self._records = {pki.charger_id(n): record_of(files, n, not_after) for n in range(chargers)}

    def get(self, charger_id: str) -> AdmissionRecord | None:
        return self._records.get(charger_id)

    def subscribe(self, changed: Callable[[AdmissionRecord], None]) -> None:
        pass

    def listen(self, session_id: str, deliver: Callable[[InstructionOrder], None]) -> None:
        pass

    def forget(self, session_id: str) -> None:
        pass


class Node:
    """The charger port and its actors; asked from the main thread."""

    def __init__(self, files: pki.Files, chargers: int) -> None:
        metrics = PrometheusMetrics()
        self.runtime = Runtime.open(metrics)
        clock = SystemClock()
        self.log = Acknowledging()
        records = Records(files, chargers, clock.now() + pki.VALID)
        self._lanes = ChargerLanes(self.runtime.tree, self.runtime.io)
        ports = ChargerPorts(evidence=self.log, relay=self.log, clock=clock, metrics=metrics)
        self.door = Door(ports, self._lanes, records, records, to_io=self._lanes.to_io)
        self.gateway = Gateway(
            node="bench",
            incarnation=clock.new_id(),
            tls=FrontTls([ServerIdentity(*files.server)], [files.issuing.read_text(encoding="ascii")]),
            admission=records,
            door=self.door,
            reporter=self.log,
            clock=clock,
            metrics=metrics,
            verify_key=verify_with({}),
        )
        self.runtime.run(self.gateway.start("127.0.0.1"))

    def settled(self, sessions: int, opened: int) -> dict[str, Any]:
        """Once so many sessions are open, and so many were ever opened and recorded."""
        deadline = time.monotonic() + _SETTLED_S
        while (self.door.open_sessions, self.log.kinds["SessionOpened"]) != (sessions, opened):
            if self.log.trouble or time.monotonic() > deadline:
                return {"trouble": self.log.trouble[:3] or ["not settled"]}
            time.sleep(_LOOK_AGAIN_S)
        return {"trouble": self.log.trouble[:3], "evidence": dict(self.log.kinds)}

    async def stop(self) -> None:
        await self.gateway.stop()
        await self.runtime.tree.stop(2.0)


def main() -> None:
    settings = settings_of_this_process()
    node = Node(pki.Files(Path(settings["folder"])), settings["chargers"])
    gc.collect()
    serve({"settled": node.settled}, port=node.gateway.port)
    node.runtime.run(node.stop(), 8.0)
    os._exit(0)


if __name__ == "__main__":
    main()
