"""kill -9 of every part in turn, in the middle of an enrolment."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from simulator.charger import Happening
from tests.faults.depot import (
    assert_ledger_intact,
    depot,
    peer_log,
    peer_statistics,
)
from tests.faults.plant import Plant

CHARGERS = int(os.environ.get("BF_TEST_CHARGERS", "200"))


@pytest.mark.timeout(180)
async def test_an_enrolment_survives_the_kill_of_every_part_in_turn(plant: Plant) -> None:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    async with depot(plant, CHARGERS) as fleet:
        say("registered")
        tally = fleet.tally
        await tally.reaches(Happening.ACCEPTED, CHARGERS // 4, 60)
        await fleet.order()
        say("ordered")
        await tally.reaches(Happening.CERTIFICATE_ACCEPTED, CHARGERS // 8, 60)
        plant.core.kill()
        plant.core.start()
        say(f"core killed, {dict(tally.counts)}")
        await plant.core.ready()
        say("core ready")
        await tally.reaches(Happening.CERTIFICATE_PROVEN, CHARGERS // 4, 60)
        plant.connect.kill()
        plant.connect.start()
        say(f"connect killed, {tally.counts[Happening.CERTIFICATE_PROVEN]} proven")
        await plant.connect.ready()
        say("connect ready")
        await tally.reaches(Happening.CERTIFICATE_PROVEN, CHARGERS * 3 // 8, 60)
        os.kill(plant.nats.pid, signal.SIGKILL)
        plant.nats.restart()
        say(f"nats killed and back, {tally.counts[Happening.CERTIFICATE_PROVEN]} proven")
        await tally.reaches(Happening.CERTIFICATE_PROVEN, CHARGERS * 5 // 8, 60)
        os.kill(plant.postgres.pid, signal.SIGKILL)
        plant.postgres.restart()
        say(f"postgres killed and back, {tally.counts[Happening.CERTIFICATE_PROVEN]} proven")
        await fleet.all_active(120)
        say("all active")
        await fleet.assert_active_exactly_once()
        say("looked")
        in_doubt = await fleet.events("IssuanceInDoubt")
        stats = await peer_statistics(plant)
        assert stats["token_conflicts"] == []
        issued = stats["certificates"][plant.aws.authorities["charger-identity"].issuing_arn]["issued"]
        say(f"{issued} issued, {len(in_doubt)} in doubt, calls {stats['calls']}")
        calls = await peer_log(plant, "IssueCertificate")
        parameters = Counter((c["token"], c["parameter_hash"]) for c in calls if c["token"])
        assert len(parameters) == len({token for token, _ in parameters})
        say(f"{await assert_ledger_intact(plant)} events intact")
