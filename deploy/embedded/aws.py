"""The AWS Private CA peer as a child process: what stands in for AWS on a machine without it."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from deploy.embedded.child import ChildCommand, ChildProcess
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.errors import ServerDidNotStart
from deploy.embedded.port import lasting_port

READY_WITHIN = timedelta(seconds=60)
STOP_WITHIN = timedelta(seconds=3)
REALMS = ("charger-identity", "backend-server", "iso15118")


@dataclass(frozen=True, slots=True)
class Authorities:
    """The ARNs of one realm's CAs."""

    root_arn: str
    issuing_arn: str


class EmbeddedAws:
    """A running peer. Its port is kept from start to start, because certificates name its CRL."""

    def __init__(
        self, child: ChildProcess, url: str, authorities: dict[str, Authorities], role_arns: dict[str, str]
    ) -> None:
        self._child = child
        self.url = url
        self.authorities = authorities
        self.role_arns = role_arns
        """The role to assume for each duty."""

    @classmethod
    def start(cls, data: DataDirectory, *, options: tuple[str, ...] = ()) -> EmbeddedAws:
        """From the main thread. Raises ServerDidNotStart."""
        home = data.folder("aws")
        remembered = home / "port"
        port = remembered.read_text(encoding="ascii").strip() if remembered.exists() else str(lasting_port())
        try:
            peer = cls._spawn(data, home, port, options)
        except ServerDidNotStart:
            peer = cls._spawn(data, home, str(lasting_port()), options)
        remembered.write_text(peer.url.rpartition(":")[2].strip("/"), encoding="ascii")
        return peer

    @classmethod
    def _spawn(cls, data: DataDirectory, home: Path, port: str, options: tuple[str, ...]) -> EmbeddedAws:
        command = ChildCommand(
            name="aws",
            arguments=(
                *(sys.executable, "-m", "simulator.aws", "--state-dir", str(home / "state"), "--port", port),
                *(part for realm in REALMS for part in ("--realm", realm)),
                "--duty-roles",
                *options,
            ),
            environment={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(Path(__file__).parents[2])},
            log_file=data.log_file("aws"),
            pid_file=data.pid_file("aws"),
            stop_signal=signal.SIGTERM,
        )
        child = ChildProcess.spawn(command)
        said = child.wait_until(lambda: _ready_line(child), READY_WITHIN)
        authorities = {
            realm: Authorities(arns["root_arn"], arns["issuing_arn"])
            for realm, arns in said["authorities"].items()
        }
        return cls(child, said["url"], authorities, said["roles"])

    @property
    def pid(self) -> int:
        return self._child.pid

    def stop(self) -> None:
        """Harmless when it is gone."""
        self._child.stop(STOP_WITHIN)


def _ready_line(child: ChildProcess) -> dict[str, Any] | None:
    for line in child.log_tail().splitlines():
        if line.startswith(('{"event":"ready"', '{"event": "ready"')):
            said: dict[str, Any] = json.loads(line)
            return said
    return None
