"""The evidence a benchmark replays: depots whose chargers come, boot, report something and go, wave after wave."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, islice

from bfactors import evidence as v
from bfactors.command import CommandEnvelope, RegisterCharger
from bfactors.identity import partition_of

CHARGERS = 125
_KINDS = 4
EVIDENCE_A_WAVE = CHARGERS * _KINDS
_AT_ONCE = 25
"""Chargers whose evidence arrives mixed with each other's."""


def chargers_of(partition: int) -> list[str]:
    """Names that hash to this partition."""
    names = (f"BENCH-{number:06d}" for number in count())
    return list(islice((name for name in names if partition_of(name) == partition), CHARGERS))


def registration(charger_id: str) -> CommandEnvelope:
    """The command that adds a charger to the inventory."""
    body = RegisterCharger(
        charger_id=charger_id,
        managed_identity_id=f"unit-{charger_id}",
        serial_number=charger_id,
        family="bench/one",
        site="depot",
        cohort="pilot",
        security_profile=3,
    )
    return CommandEnvelope(
        command_id=v.evidence_id("bench", charger_id), actor="bench", role="system", body=body
    )


def evidence_of(partition: int, waves: int) -> Iterator[v.Evidence]:
    """Every one of these leads to exactly one ledger event."""
    names = chargers_of(partition)
    for wave in range(waves):
        for first in range(0, CHARGERS, _AT_ONCE):
            for kind in range(_KINDS):
                for name in names[first : first + _AT_ONCE]:
                    yield _evidence(name, wave, kind)


def _evidence(charger_id: str, wave: int, kind: int) -> v.Evidence:
    session_id = f"{charger_id}/{wave}"
    now = datetime.now(UTC)
    return v.Evidence(
        evidence_id=v.evidence_id(session_id, str(kind)),
        charger_id=charger_id,
        source="charger",
        observed_at=now,
        body=_body(session_id, wave, kind, now),
    )


def _body(session_id: str, wave: int, kind: int, now: datetime) -> v.EvidenceBody:
    match kind:
        case 0:
            return v.SessionOpened(
                session_id=session_id,
                node="bench",
                incarnation="bench-1",
                ocpp_version="2.0.1",
                security_profile=3,
                remote_address="192.0.2.1",
                opened_at=now,
            )
        case 1:
            return v.BootReported(
                session_id=session_id,
                vendor="Bench",
                model="One",
                serial_number=None,
                firmware_version=f"1.{wave}",
                reason="FirmwareUpdate",
            )
        case 2:
            return v.SecurityEventReported(
                session_id=session_id, event_type="FirmwareUpdated", charger_time=now.isoformat()
            )
        case _:
            return v.SessionClosed(session_id=session_id, reason="closed-by-charger")
