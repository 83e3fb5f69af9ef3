"""`run.py up` as a process of its own, for tests that look at it from outside."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class ControlPlane:
    """A running control plane and what it costs."""

    process: "subprocess.Popen[str]"
    ocpp_url: str
    admin_url: str
    token: str

    @classmethod
    def start(cls, data_dir: Path) -> "ControlPlane":
        """Returns when it says that it is ready."""
        log = (data_dir.parent / "up.log").open("w")
        process = subprocess.Popen(
            [
                *(sys.executable, "run.py", "up", "--data-dir", str(data_dir)),
                *("--ocpp-port", "0", "--admin-port", "0", "--log-level", "warning"),
            ],
            cwd=ROOT,
            env={**os.environ, "BF_LOG_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (data_dir.parent / "up.log").read_text()[-2000:]
        said = json.loads(line)
        token = Path(said["admin_token_file"]).read_text().strip()
        return cls(process, said["ocpp_url"], said["admin_url"], token)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    @property
    def resident_mib(self) -> float:
        """Its memory now."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
