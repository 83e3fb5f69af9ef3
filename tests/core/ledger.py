"""Messages folded into commits without a store: a partition in the test's hand."""

from datetime import timedelta
from typing import Any

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger.state import ChargerState
from bfactors.firmware.state import FirmwareCharger, FirmwareFleet
from bfactors.firmware_fold import FirmwareLoaded
from bfactors.fleet.state import FleetFacts, FleetState
from bfactors.identity import partition_of
from bfactors.ledger_fold import Fold, Loaded
from bfactors.ledger_row import GENESIS, Batch, EventRow, Lease, row_hash
from tests.core import pki
from tests.core.world import fleet_facts

NOW = pki.BEGIN + timedelta(days=10)


class Partition:
    """Commits batch after batch, keeping what the next one builds on."""

    def __init__(self, number: int | None = None, facts: FleetFacts | None = None) -> None:
        self.now = NOW
        self.number = partition_of("CP-1") if number is None else number
        self.facts = facts if facts is not None else fleet_facts()
        self.fleet = FleetState() if self.number == 0 else None
        self.states: dict[str, ChargerState | None] = {}
        self.key_owners: dict[str, str] = {}
        self.serial_owners: dict[str, str] = {}
        self.firmware: dict[str, FirmwareCharger] = {}
        self.firmware_fleet = FirmwareFleet()
        self.lease = Lease(
            partition=self.number,
            owner="core-1",
            epoch=1,
            sequence=0,
            head_hash=GENESIS,
            evidence_position=0,
            fleet_position=0,
            outbox_position=0,
        )
        self.rows: list[EventRow] = []
        self.batches: list[Batch] = []
        self.answers: list[c.CommandAnswer] = []

    def fold(self, charger_ids: list[str]) -> Fold:
        loaded = Loaded(
            facts=self.facts,
            states={charger_id: self.states.get(charger_id) for charger_id in charger_ids},
            fleet=self.fleet,
            key_owners=self.key_owners,
            serial_owners=self.serial_owners,
            firmware=FirmwareLoaded(chargers=self.firmware, fleet=self.firmware_fleet),
        )
        return Fold(self.lease, loaded, self.now, "wss://csms.example/ocpp")

    def commit(self, *messages: v.Evidence | c.CommandEnvelope) -> Batch:
        """Fold these as one batch and let it stand."""
        names = [
            message.charger_id if isinstance(message, v.Evidence) else getattr(message.body, "charger_id", "")
            for message in messages
        ]
        fold = self.fold([name for name in names if name])
        for message in messages:
            if isinstance(message, v.Evidence):
                fold.evidence(message, fold.batch.evidence_position + 1)
            else:
                self.answers.append(fold.command(message))
        return self.take(fold)

    def take(self, fold: Fold) -> Batch:
        batch = fold.finish()
        self.states.update(fold.states)
        self.facts, self.fleet = fold.facts, fold.fleet
        self.firmware, self.firmware_fleet = fold.firmware.chargers, fold.firmware.fleet
        self.key_owners.update({row.spki_sha256: row.managed_identity_id for row in batch.key_owners})
        self.rows += batch.events
        self.batches.append(batch)
        head = batch.events[-1] if batch.events else None
        self.lease = Lease(
            partition=self.number,
            owner="core-1",
            epoch=1,
            sequence=head.sequence if head else self.lease.sequence,
            head_hash=head.hash if head else self.lease.head_hash,
            evidence_position=batch.evidence_position,
            fleet_position=batch.fleet_position,
            outbox_position=0,
        )
        return batch

    def check_chain(self) -> None:
        """Recompute every hash, as an outsider would."""
        previous = GENESIS
        for number, row in enumerate(self.rows, 1):
            fields = {name: getattr(row, name) for name in EventRow.__struct_fields__ if name != "hash"}
            assert row.sequence == number
            assert row.previous_hash == previous
            assert row.hash == row_hash(**fields)
            previous = row.hash


def asked(body: c.Command, command_id: str = "c", **fields: Any) -> c.CommandEnvelope:
    """A command of an operator."""
    return c.CommandEnvelope(
        command_id=command_id, actor="operator:ada", role="operator", body=body, **fields
    )


def registration(charger_id: str = "CP-1", **fields: Any) -> c.RegisterCharger:
    """A charger to register, its other names made from its id."""
    values: dict[str, Any] = {
        "charger_id": charger_id,
        "managed_identity_id": f"unit-{charger_id}",
        "serial_number": f"SN-{charger_id}",
        "family": "acme-one",
        "site": "north",
        "cohort": "canary",
        "security_profile": 2,
        "organization": "Depot",
        **fields,
    }
    return c.RegisterCharger(**values)


def fact(body: v.EvidenceBody, charger_id: str = "CP-1", name: str = "") -> v.Evidence:
    """A fact whose id is made from its content."""
    return v.Evidence(
        evidence_id=v.evidence_id(charger_id, repr(body), name),
        charger_id=charger_id,
        source="charger",
        observed_at=NOW,
        body=body,
    )


def opening(session_id: str = "s1", *, incarnation: str = "i1", **fields: Any) -> v.SessionOpened:
    """A profile-2 session on node n1."""
    values: dict[str, Any] = {
        "session_id": session_id,
        "node": "n1",
        "incarnation": incarnation,
        "ocpp_version": "2.0.1",
        "security_profile": 2,
        "remote_address": "192.0.2.1",
        "opened_at": NOW,
        **fields,
    }
    return v.SessionOpened(**values)


def issue(job_id: str = "job", charger_id: str = "CP-1", **fields: Any) -> c.RequestJob:
    """A job that brings the charger its identity."""
    return c.RequestJob(
        job_id=job_id,
        charger_id=charger_id,
        purpose="charging_station",
        action="issue",
        reason="test",
        **fields,
    )
