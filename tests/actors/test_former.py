"""Certificates that their charger's state has let go of: revocations, incidents and departures reach every one of them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from actors.ledger import actor
from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger.evolve_certificate import _ENDED_KEPT
from bfactors.charger.former import MOST_UNDER_WAY, spki_of
from bfactors.charger.state import ChargerState
from bfactors.effect import RevokeCertificate
from bfactors.fleet.state import FleetFacts
from bfactors.incident import Incident
from bfactors.ledger_fold import FACTS_KEY
from tests.actors.ledger_world import PARTITION, LedgerWorld, chargers_of
from tests.core import pki
from tests.core.ledger import fact, registration
from tests.core.test_incident import incident
from tests.core.world import ARN, fleet_facts

MANY = 10
"""Certificates of one charger, more than its state keeps."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor, "TICK_S", 0.005)
    monkeypatch.setattr(actor, "CLAIM_AGAIN_S", 0.005)


@pytest.fixture
async def world() -> AsyncIterator[LedgerWorld]:
    made = LedgerWorld()
    yield made
    await made.stop()
    assert made.failures == []


async def worn(world: LedgerWorld, count: int = MANY, one_key_for: int = 0) -> list[str]:
    """A charger that has had so many certificates, each good at its CA for a year; their ids, oldest first.

    The first few share a key.
    """
    shared = pki.csr("SN-CP-1")
    await world.teach()
    await world.accepted(registration())
    end = world.time.now() + timedelta(days=365)
    for number in range(count + 1):
        begin = world.time.now() - timedelta(days=100 - number)
        seen = v.CertificateSeenAtCa(
            purpose="charging_station",
            authority_arn=ARN,
            external_ref=f"{ARN}/certificate/{number}",
            chain_pem=pki.ca().sign(shared if number < one_key_for else pki.csr("SN-CP-1"), begin, end),
            issued_at=begin,
            revoked_at=None,
            revocation_reason=None,
            report_ref="r",
            report_at=world.time.now(),
            ledger_state="superseded",
        )
        await world.tell(seen, name=f"seen-{number}")
    await world.until(lambda: len(world.store.certificates) == count + 1)
    rows = sorted(world.store.certificates.values(), key=lambda row: row.issued_at or row.not_before)
    world.time.now_s += 1
    # the newest goes, and with its going the state lets go of all but the last few
    await world.accepted(revoke(rows[-1].certificate_id, "first"))
    assert len(world.stored().certificates) == _ENDED_KEPT + 1
    return [row.certificate_id for row in rows[:-1]]


def revoke(certificate_id: str, job_id: str = "job", **fields: object) -> c.RequestJob:
    values = {"charger_id": "CP-1", "purpose": "charging_station", "reason": "stolen", **fields}
    return c.RequestJob(job_id=job_id, action="revoke", certificate_id=certificate_id, **values)  # type: ignore[arg-type]


def wanted(world: LedgerWorld, owner: str = "core-1") -> set[str]:
    """The certificates that the CA is to revoke."""
    effects = world.effects[owner].values()
    return {effect.certificate_id for effect in effects if isinstance(effect, RevokeCertificate)}


async def strike(world: LedgerWorld, *incidents: Incident, sequence: int = 2) -> None:
    facts = replace(fleet_facts(), sequence=sequence, incidents={one.incident_id: one for one in incidents})
    await world.log.append(fact(v.FleetFactsChanged(facts=facts), "", f"facts-{sequence}"), PARTITION)


def struck(percent: int = 100, **criteria: object) -> Incident:
    return replace(incident(percent, **criteria), opened_at=pki.BEGIN + timedelta(days=3650))


# ---------------------------------------------------------------- one by one


async def test_an_older_certificate_is_revoked_by_its_id(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    assert names[0] not in world.stored().certificates
    await world.accepted(revoke(names[0]))
    await world.until(lambda: names[0] in wanted(world))
    held = world.stored().certificates[names[0]]
    row = world.store.certificates[names[0]]
    doc = msgspec.json.decode(row.doc)
    assert doc["pem"] + doc["chain_pem"] == held.chain_pem
    assert held.chain_pem.startswith("-----BEGIN CERTIFICATE")
    await world.tell(v.RevocationAccepted(certificate_id=names[0]))
    await world.until(lambda: world.store.certificates[names[0]].state == "revoked")
    assert world.store.jobs["job"].state == "succeeded"


async def test_what_was_done_with_an_older_one_lets_it_go_again(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    await world.accepted(revoke(names[0]))
    await world.tell(v.RevocationAccepted(certificate_id=names[0]))
    await world.until(lambda: world.store.certificates[names[0]].state == "revoked")
    world.time.now_s += 1
    await world.accepted(revoke(names[1], "other"))
    await world.until(lambda: names[1] in wanted(world))
    assert names[0] not in world.stored().certificates
    again = await world.refused(revoke(names[0], "again"))
    assert again.code == "already-revoked"


async def test_with_a_compromised_key_go_all_certificates_that_hold_it(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world, one_key_for=3)
    await world.accepted(revoke(names[1], revocation_reason="key_compromise"))
    await world.until(lambda: wanted(world).issuperset(names[:3]))
    await world.quiet()
    assert wanted(world).isdisjoint(names[3:])


async def test_an_older_certificate_is_deactivated_by_its_id(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    body = c.RequestJob(
        job_id="job",
        charger_id="CP-1",
        purpose="charging_station",
        action="deactivate",
        reason="no more",
        certificate_id=names[0],
    )
    await world.accepted(body)
    await world.until(lambda: world.store.certificates[names[0]].state == "inactive")
    world.time.now_s += 1
    await world.accepted(revoke(names[1], "other"))
    assert names[0] not in world.stored().certificates


async def test_what_nobody_knows_or_another_charger_has_is_not_found(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    [other] = chargers_of(PARTITION, 1, "CP-1")
    await world.accepted(registration(other))
    for body in (revoke("nobody", "j1"), revoke(names[0], "j2", charger_id=other)):
        assert (await world.refused(body)).code == "unknown-certificate"
    assert wanted(world).isdisjoint(names)


# ---------------------------------------------------------------- incidents


async def test_an_incident_reaches_every_certificate_that_its_ca_vouches_for(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    await strike(world, struck())
    await world.until(lambda: wanted(world).issuperset(names))
    assert all(world.store.certificates[name].incident_state == "revoking" for name in names)


async def test_an_incident_leaves_the_older_ones_alone_that_it_is_not_about(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    key = world.store.certificates[names[1]].spki_sha256
    await strike(world, struck(spki_sha256=(key,)))
    await world.until(lambda: names[1] in wanted(world))
    await world.quiet()
    assert wanted(world).isdisjoint([names[0], *names[2:]])
    assert names[0] not in world.stored().certificates


async def test_before_its_stage_begins_no_older_one_is_asked_for(world: LedgerWorld) -> None:
    world.start()
    names = await worn(world)
    await strike(world, replace(struck(), state="paused"))
    await world.quiet()
    assert names[0] not in world.stored().certificates
    await strike(world, struck(), sequence=3)
    await world.until(lambda: wanted(world).issuperset(names))


async def test_an_owner_that_was_away_when_it_began_reaches_them_when_it_takes_the_partition(
    world: LedgerWorld,
) -> None:
    first = world.start()
    names = await worn(world)
    await strike(world, replace(struck(), state="paused"))
    facts_key = (PARTITION, FACTS_KEY)
    await world.until(lambda: world.store.aggregates[facts_key].version == 2)
    await first.stop()
    world.actors.remove(first)
    row = world.store.aggregates[facts_key]
    facts = msgspec.json.decode(row.state, type=FleetFacts)
    only = world.store.certificates[names[0]].spki_sha256
    going = replace(facts, incidents={"incident-1": struck(spki_sha256=(only,))})
    world.store.aggregates[facts_key] = type(row)(row.key, row.version, msgspec.json.encode(going))
    world.start(owner="core-2")
    await world.until(lambda: names[0] in wanted(world, "core-2"))


async def test_of_very_many_only_some_are_held_at_a_time(world: LedgerWorld) -> None:
    world.start()
    count = MOST_UNDER_WAY + _ENDED_KEPT + 15
    names = await worn(world, count)
    await strike(world, struck())
    await world.until(lambda: len(wanted(world)) > MOST_UNDER_WAY)
    await world.quiet()
    most = len(world.stored().certificates)
    assert most <= MOST_UNDER_WAY + _ENDED_KEPT + 1
    done: set[str] = set()
    while len(done) < len(names):
        asked = sorted(wanted(world).intersection(names) - done)
        assert asked
        for name in asked:
            await world.tell(v.RevocationAccepted(certificate_id=name), name=f"done-{name}")
        done.update(asked)
        await world.until(lambda: all(world.store.certificates[name].state == "revoked" for name in done))
        await world.quiet()
        world.time.now_s += 1
        assert len(world.stored().certificates) <= 2 * MOST_UNDER_WAY + _ENDED_KEPT + 1
    assert done == set(names)


# ---------------------------------------------------------------- departures


@pytest.mark.parametrize("count", [MANY, MOST_UNDER_WAY + _ENDED_KEPT + 5])
@pytest.mark.parametrize("way", ["decommission", "replace"])
async def test_a_unit_that_leaves_leaves_no_certificate_behind(
    world: LedgerWorld, way: str, count: int
) -> None:
    world.start()
    names = await worn(world, count)
    body = (
        c.DecommissionCharger(charger_id="CP-1", job_id="leave", reason="sold")
        if way == "decommission"
        else c.ReplaceUnit(
            charger_id="CP-1",
            job_id="leave",
            managed_identity_id="unit-2",
            serial_number="SN-2",
            security_profile=0,
            reason="broken",
        )
    )
    await world.accepted(body)
    done: set[str] = set()
    while len(done) < len(names) + 1:
        asked = sorted(wanted(world) - done)
        assert asked
        assert world.store.jobs["leave"].state == "open"
        for name in asked:
            await world.tell(v.RevocationAccepted(certificate_id=name), name=f"done-{name}")
        done.update(asked)
        await world.until(lambda: all(world.store.certificates[name].state == "revoked" for name in done))
        await world.quiet()
    assert world.store.jobs["leave"].state == "succeeded"
    assert done.issuperset(names)


async def test_what_a_unit_left_behind_before_anybody_looked_is_revoked_at_the_next_look(
    world: LedgerWorld,
) -> None:
    """A charger that left under a release which reached the last few only."""
    first = world.start()
    names = await worn(world)
    for name in wanted(world):
        await world.tell(v.RevocationAccepted(certificate_id=name))
    await world.until(lambda: not world.stored().jobs)
    await first.stop()
    world.actors.remove(first)
    key = (PARTITION, "charger:CP-1")
    row = world.store.aggregates[key]
    state = msgspec.json.decode(row.state, type=ChargerState)
    gone = replace(
        state, decommissioned_at=world.time.now(), leaving_job_id="leave", decommission_reason="sold"
    )
    world.store.aggregates[key] = type(row)(row.key, row.version, msgspec.json.encode(gone))
    world.start(owner="core-2")
    await world.until(lambda: wanted(world, "core-2").issuperset(names))


async def test_a_state_of_an_earlier_release_is_read_and_its_older_certificates_are_reached(
    world: LedgerWorld,
) -> None:
    first = world.start()
    names = await worn(world)
    await first.stop()
    world.actors.remove(first)
    key = (PARTITION, "charger:CP-1")
    row = world.store.aggregates[key]
    state = msgspec.json.decode(row.state)
    state.pop("recalls_more", None)
    for one in state["certificates"].values():
        for name in ("is_recalled", "changed_at"):
            one.pop(name, None)
    world.store.aggregates[key] = type(row)(row.key, row.version, msgspec.json.encode(state))
    for name, held in world.store.certificates.items():
        world.store.certificates[name] = replace(held, spki_sha256=None)  # rows from before keys had a column
    world.start(owner="core-2")
    await strike(world, struck(spki_sha256=(spki_of(world.store.certificates[names[0]].doc),)))
    await world.until(lambda: names[0] in wanted(world, "core-2"))
    assert wanted(world, "core-2").isdisjoint(names[1:])
