"""Unlucky moments: a connection that breaks on CertificateSigned, facts that come twice, facts that make no sense."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from bfactors import subject
from bfactors.evidence import Evidence, IssuanceCompleted
from bfactors.identity import partition_of
from simulator.charger import ChargerEvent, DropsSocketBeforeAnswering, Happening
from tests.faults.depot import assert_ledger_intact, depot, peer_statistics
from tests.faults.evidence_hand import evidence_hand
from tests.faults.ledger_view import ledger_view
from tests.faults.plant import Plant

pytestmark = pytest.mark.xdist_group("plant")

CHARGERS = 8
HEARD = Happening.CALL_HEARD


async def test_a_charger_that_reconnects_while_its_certificate_is_installed_ends_with_one(
    plant: Plant,
) -> None:
    """It takes the certificate, and the connection breaks before its answer is out."""
    faults = {index: (DropsSocketBeforeAnswering("CertificateSigned"),) for index in range(CHARGERS)}
    async with depot(plant, CHARGERS, faults=faults) as fleet:
        await fleet.order()
        await fleet.all_active(80)
        await fleet.assert_active_exactly_once()
        await assert_ledger_intact(plant)


async def test_connect_killed_right_after_a_certificate_left_loses_and_repeats_nothing(plant: Plant) -> None:
    async with depot(plant, CHARGERS) as fleet:
        killed: list[str] = []

        def kill(event: ChargerEvent) -> None:
            if not killed and event.happening is HEARD and event.detail == "CertificateSigned":
                killed.append(event.charger_id)
                plant.connect.kill()

        for charger in fleet.fleet.chargers:
            charger.subscribe(kill)
        await fleet.order()
        await fleet.tally.reaches(HEARD, 1, 30)
        await fleet.tally.reaches(Happening.CERTIFICATE_ACCEPTED, 1, 30)
        plant.connect.start()
        await plant.connect.ready()
        await fleet.all_active(80)  # one that refuses a leaf sent again is asked for another key at once
        assert killed
        await fleet.assert_active_exactly_once()
        assert (await peer_statistics(plant))["token_conflicts"] == []
        await assert_ledger_intact(plant)


DECIDED = """
    SELECT string_agg(concat_ws(' ', partition, sequence, event, charger_id, cause, payload),
                      E'\n' ORDER BY partition, sequence)
      FROM event WHERE partition > 0 AND event <> 'SecurityEventRecorded'
"""
"""What was decided about chargers. The edge reports refused connections ten seconds at a time, so one of those may still come
in; and that a killed node is forgotten, which is the fleet's decision, comes when its presence has lapsed.
"""


async def test_evidence_stored_twice_is_decided_once(plant: Plant) -> None:
    async with depot(plant, CHARGERS) as fleet, ledger_view(plant) as ledger, evidence_hand(plant) as hand:
        await fleet.order()
        await fleet.all_active(60)
        await hand.all_read(ledger)
        events = (await ledger.fetchval(DECIDED)).splitlines()
        set_aside = await ledger.fetchval("SELECT count(*) FROM quarantined_evidence")
        for partition in sorted({partition_of(charger_id) for charger_id in fleet.ids}):
            for number, (to, payload) in enumerate(await hand.stored(partition)):
                await hand.publish(to, payload, f"again-{partition}-{number}-{len(events)}")
        await hand.all_read(ledger)
        assert set((await ledger.fetchval(DECIDED)).splitlines()) - set(events) == set()
        assert await ledger.fetchval("SELECT count(*) FROM quarantined_evidence") == set_aside
        await fleet.assert_active_exactly_once()


async def test_evidence_that_cannot_be_decided_on_is_set_aside_and_the_partition_goes_on(
    plant: Plant,
) -> None:
    async with depot(plant, CHARGERS) as fleet, ledger_view(plant) as ledger, evidence_hand(plant) as hand:
        victim = fleet.ids[0]
        partition = partition_of(victim)
        before = await ledger.fetchval("SELECT count(*) FROM quarantined_evidence")
        garbled = subject.evidence(partition, "connect-a", "CsrReceived", f"garbled-{victim}")
        await hand.publish(garbled, b"\xff\x00 this is no JSON", f"garbled-{victim}")
        senseless = Evidence(
            evidence_id=f"senseless-{victim}",
            charger_id=victim,
            source="ca:nobody",
            observed_at=datetime.now(UTC),
            body=IssuanceCompleted(job_id="none", attempt=1, external_ref="none", chain_pem="no certificate"),
        )
        to = subject.evidence(partition, "connect-a", "IssuanceCompleted", senseless.evidence_id)
        await hand.publish(to, msgspec.json.encode(senseless), senseless.evidence_id)
        await hand.all_read(ledger)
        assert await ledger.fetchval("SELECT count(*) FROM quarantined_evidence") == before + 2
        assert (await ledger.events_of(victim)).count("EvidenceQuarantined") == 1
        others = [charger_id for charger_id in fleet.ids if charger_id != victim]
        refused = await fleet.admin.order("issue", others, f"others-{victim}")
        assert not refused
        await fleet.tally.reaches(Happening.CERTIFICATE_PROVEN, len(others), 60)
        await assert_ledger_intact(plant)
