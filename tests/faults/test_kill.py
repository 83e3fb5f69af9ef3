"""kill -9 of every part in turn, in the middle of an enrolment."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from simulator.charger import Happening
from tests.faults.depot import Depot, assert_ledger_intact, depot, peer_log, peer_statistics
from tests.faults.ledger_view import ledger_view
from tests.faults.plant import Plant

pytestmark = pytest.mark.xdist_group("takeover")

FAST = 60
FULL = 200


class Story:
    """What happened when, for whoever reads the test's output."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}")


async def test_an_enrolment_survives_the_kill_of_every_part_in_turn(plant: Plant) -> None:
    await enrolment_with_kills(plant, FAST)


@pytest.mark.slow
async def test_an_enrolment_of_200_survives_the_kill_of_every_part_in_turn(plant: Plant) -> None:
    await enrolment_with_kills(plant, FULL)


async def enrolment_with_kills(plant: Plant, chargers: int) -> None:
    """Each part dies when the enrolment has come a good step further since the last one died."""
    story = Story()
    before = await issued(plant)
    async with depot(plant, chargers) as fleet:
        tally = fleet.tally
        await tally.reaches(Happening.ACCEPTED, chargers // 4, 60)
        await fleet.order()
        await tally.reaches(Happening.CERTIFICATE_ACCEPTED, chargers // 8, 60)
        plant.core.kill()
        plant.core.start()
        await plant.core.ready()
        story.tell("core was killed and is ready again")
        await tally.reaches(Happening.CERTIFICATE_PROVEN, proven(fleet) + chargers // 8, 60)
        plant.connect.kill()
        plant.connect.start()
        await plant.connect.ready()
        story.tell(f"connect was killed and is ready again, {proven(fleet)} proven")
        await tally.reaches(Happening.CERTIFICATE_PROVEN, proven(fleet) + chargers // 8, 60)
        os.kill(plant.nats.pid, signal.SIGKILL)
        plant.nats.restart()
        story.tell(f"NATS was killed and runs again, {proven(fleet)} proven")
        await tally.reaches(
            Happening.CERTIFICATE_PROVEN, min(proven(fleet) + chargers // 8, chargers - 1), 60
        )
        os.kill(plant.postgres.pid, signal.SIGKILL)
        plant.postgres.restart()
        story.tell(f"Postgres was killed and runs again, {proven(fleet)} proven")
        await fleet.all_active(90)
        story.tell("all active")
        await fleet.assert_active_exactly_once()
        await assert_nothing_asked_twice(plant, fleet, await issued(plant) - before)
        story.tell(f"{await assert_ledger_intact(plant)} events intact")


def proven(fleet: Depot) -> int:
    return fleet.tally.counts[Happening.CERTIFICATE_PROVEN]


async def issued(plant: Plant) -> int:
    """How many certificates of chargers the CA has made."""
    stats = await peer_statistics(plant)
    return int(stats["certificates"][plant.aws.authorities["charger-identity"].issuing_arn]["issued"])


async def assert_nothing_asked_twice(plant: Plant, fleet: Depot, made: int) -> None:
    """One token, one request; and every certificate above one a charger has a recorded cause."""
    assert (await peer_statistics(plant))["token_conflicts"] == []
    calls = await peer_log(plant, "IssueCertificate")
    requests = {(call["token"], call["parameter_hash"]) for call in calls if call["token"]}
    assert [token for token, count in Counter(token for token, _ in requests).items() if count > 1] == []
    async with ledger_view(plant) as ledger:
        in_doubt = await ledger.count("IssuanceInDoubt", fleet.ids)
        renewals = await ledger.count("CertificateRenewalStarted", fleet.ids)
        issued = await ledger.count("CertificateIssued", fleet.ids)
        # a second key overtakes the first before its certificate is delivered, or before the CA has even made it
        newer_keys = await ledger.count("CertificateSuperseded", fleet.ids, '"newer-key"')
        newer_keys += await ledger.count("CertificateSuperseded", fleet.ids, '"attempt-superseded"')
        assert (
            len(fleet.ids) <= made <= issued + in_doubt
        )  # the CA made nothing the ledger does not hold or doubt
        assert issued <= len(fleet.ids) + in_doubt + newer_keys + renewals
        assert await ledger.decided_twice() == []
