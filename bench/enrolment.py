"""CPU of `run.py up` for a full enrolment - registered, connected, certificate made, installed, seen live - over a handshake.

Evidence, ledger and admin requests included; PostgreSQL, NATS, the AWS peer and the simulated chargers are processes of
their own. One IssueCertificate and one GetCertificate each; what the AWS client costs for those two is measured alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from bench import pki
from bench.plant import Plant, plant
from bench.process import ProcessFailed, Subject
from bench.round import Result, Spread, interleave, ratios, shares

TARGET = 7.5
TARGET_WITH_AWS = 10.0
_IDLE_S = 2.0
_ACTIVE_WITHIN_S = 20.0
_LOOK_AGAIN_S = 0.05
_HANDSHAKES = 150


def measure(folder: Path, quick: bool, said: Callable[[str], None]) -> list[Result]:
    """Every round enrols chargers the system has never heard of."""
    rounds, each = (1, 8) if quick else (5, 40)
    pki.make(folder, 64)
    with (
        plant(folder) as system,
        Subject("bench.handshake", folder, chargers=64) as limit,
        Subject(
            "bench.authority", folder, aws_url=system.aws_url, authority_arn=system.authority_arn
        ) as authority,
        Subject(
            "bench.enrolling",
            folder,
            ocpp_url=system.ocpp_url,
            admin_url=system.admin_url,
            token=system.token,
        ) as depot,
    ):
        enrolment = Enrolment(system, depot)
        enrolment.cpu_s(8)
        authority.ask("issue", count=8)
        idle = _idle_share(system)
        calls, events, threads = _calls(system), system.events(), system.threads()
        found = interleave(
            rounds,
            {
                "ours": lambda: enrolment.cpu_s(each),
                "aws client": lambda: float(authority.ask("issue", count=each)["cpu_s"]) / each,
                "handshake": lambda: (
                    float(limit.ask("shake", count=_HANDSHAKES, server="stock")["cpu_s"]) / _HANDSHAKES
                ),
            },
            said,
        )
        after = system.events()
        total = rounds * each
        details = {
            "rounds": rounds,
            "enrolments_a_round": each,
            "idle_cpu_share": round(idle, 4),
            "seconds_an_enrolment": round(enrolment.seconds / enrolment.enrolled, 4),
            "us_by_thread_with_leaving": shares(threads, system.threads(), total),
            "events_an_enrolment": {
                name: round((after[name] - events.get(name, 0)) / total, 2) for name in sorted(after)
            },
            "ca_calls_an_enrolment": {
                # Both the enrolments and the client alone ask the one peer.
                name: round((count - calls.get(name, 0)) / total - 1, 2)
                for name, count in _calls(system).items()
                if name in ("IssueCertificate", "GetCertificate")
            },
        }
    return _results(found, details)


class Enrolment:
    """Enrols fleet after fleet."""

    def __init__(self, system: Plant, depot: Subject) -> None:
        self._system = system
        self._depot = depot
        self._seed = 0
        self.enrolled = 0
        self.seconds = 0.0

    def cpu_s(self, chargers: int) -> float:
        """CPU of the system for each charger, from its registration until the ledger says that its certificate is active."""
        self._seed += 1
        self.enrolled += chargers
        before, began = self._system.cpu_s(), time.monotonic()
        walked = self._depot.ask("enrol", chargers=chargers, seed=self._seed)
        self._until_active()
        spent = self._system.cpu_s() - before
        self.seconds += time.monotonic() - began
        if walked["refused"]:
            raise ProcessFailed(str(walked["refused"]))
        self._depot.ask("leave")
        return spent / chargers

    def _until_active(self) -> None:
        deadline = time.monotonic() + _ACTIVE_WITHIN_S
        while self._system.events().get("CertificateActivated", 0) < self.enrolled:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"not active within {_ACTIVE_WITHIN_S:.0f} s")
            time.sleep(_LOOK_AGAIN_S)


def _idle_share(system: Plant) -> float:
    """CPU seconds a second while nothing happens: leases, snapshots and presence go on."""
    before = system.cpu_s()
    time.sleep(_IDLE_S)
    return (system.cpu_s() - before) / _IDLE_S


def _calls(system: Plant) -> dict[str, int]:
    """Every call the peer has had, refused ones too."""
    with urlopen(f"{system.aws_url}/_peer/stats", timeout=5) as answer:
        stats: dict[str, Any] = json.load(answer)
    return {operation: sum(outcomes.values()) for operation, outcomes in stats["calls"].items()}


def _results(found: dict[str, Spread], details: dict[str, Any]) -> list[Result]:
    with_aws = ratios(found["ours"], found["handshake"])
    own = Spread(tuple(a - b for a, b in zip(found["ours"].values, found["aws client"].values, strict=True)))
    without = ratios(own, found["handshake"])
    peer = f"{found['handshake'].scaled(1e6)} us, server half of a handshake in memory"
    return [
        Result(
            name="enrolment",
            ratio=median(without),
            target=TARGET,
            ratios=without,
            ours=f"{own.scaled(1e3)} ms CPU, without the AWS client's share",
            peer=peer,
            details={"aws_client_ms": str(found["aws client"].scaled(1e3)), **details},
        ),
        Result(
            name="enrolment, with the AWS client",
            ratio=median(with_aws),
            target=TARGET_WITH_AWS,
            ratios=with_aws,
            ours=f"{found['ours'].scaled(1e3)} ms CPU",
            peer=peer,
            details=details,
        ),
    ]
