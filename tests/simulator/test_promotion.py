"""What a charger keeps of its certificates once a connection worked."""

from __future__ import annotations

from datetime import UTC, datetime

from simulator.charger import ChargerConfiguration, ChargerMemory, Happening, NetworkProfile
from simulator.charger.credential import ClientCredential
from simulator.charger.journal import Journal
from simulator.charger.promotion import promote
from simulator.charger.route import Way
from tests.simulator.conftest import FAMILY, PASSWORD

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROFILE = NetworkProfile("wss://csms.example/ocpp", 3)


def credential(name: str) -> ClientCredential:
    return ClientCredential("key", "chain", name, NOW)


OLD, NEW, NEWER = credential("old"), credential("new"), credential("newer")


def proven(
    held: ClientCredential | None,
    by: ClientCredential,
    *,
    renewed_before: ClientCredential | None,
    renewed_now: ClientCredential | None,
) -> tuple[ChargerMemory, Journal]:
    """A charger that held these was taken in with `by`."""
    configuration = ChargerConfiguration(
        charger_id="depot-1",
        serial_number="SN0001",
        organization="Depot Ltd",
        family=FAMILY,
        network_profiles={1: PROFILE},
        basic_password=PASSWORD,
    )
    memory = ChargerMemory.commissioned(configuration)
    memory.credential, memory.renewed = held, renewed_now
    journal = Journal("depot-1", lambda: NOW)
    promote(memory, Way(1, PROFILE, by), renewed_before, journal, lambda: NOW, shuns_renewed=False)
    return memory, journal


def test_a_new_certificate_that_worked_takes_the_place_of_the_old() -> None:
    memory, journal = proven(OLD, NEW, renewed_before=NEW, renewed_now=NEW)
    assert (memory.credential, memory.renewed) == (NEW, None)
    assert journal.counters[Happening.CERTIFICATE_PROVEN] == 1


def test_the_old_certificate_working_where_the_new_one_did_not_discards_the_new() -> None:
    memory, journal = proven(OLD, OLD, renewed_before=NEW, renewed_now=NEW)
    assert (memory.credential, memory.renewed) == (OLD, None)
    assert journal.counters[Happening.CERTIFICATE_DISCARDED] == 1


def test_a_certificate_that_came_before_the_boot_was_answered_waits_for_the_next_connection() -> None:
    """A second key's certificate may be delivered on the very connection that proves the first."""
    for held in (OLD, None):
        memory, journal = proven(held, NEW, renewed_before=NEW, renewed_now=NEWER)
        assert (memory.credential, memory.renewed) == (NEW, NEWER)
        assert journal.counters[Happening.CERTIFICATE_PROVEN] == 1
        assert journal.counters[Happening.CERTIFICATE_DISCARDED] == 0


def test_a_certificate_that_came_on_a_connection_with_the_old_one_was_not_tried_and_stays() -> None:
    memory, journal = proven(OLD, OLD, renewed_before=None, renewed_now=NEW)
    assert (memory.credential, memory.renewed) == (OLD, NEW)
    assert journal.counters[Happening.CERTIFICATE_DISCARDED] == 0
