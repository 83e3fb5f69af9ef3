"""A local controller over real TLS: it opens sessions of the chargers that list it, and of no others."""

from __future__ import annotations

import pytest

from bfactors.admission import Speaker
from tests.integration.gateway_world import World, world
from tests.integration.test_gateway_profile import admitted, refusal
from tests.integration.test_gateway_session import closing

__all__ = ["world"]
pytestmark = pytest.mark.uvloop


async def test_one_controller_speaks_for_the_chargers_that_list_it_and_no_others(world: World) -> None:
    leaf = world.issuing.leaf("depot-controller")
    listed = (Speaker("lc-1", leaf.fingerprint),)
    world.charger("CS-1", spoken_for_by=listed)
    world.charger("CS-2", spoken_for_by=listed, profiles=(2,))
    world.charger("CS-3")
    async with world.dial("CS-1", leaf=leaf), world.dial("CS-2", leaf=leaf):
        await world.door.until(lambda: len(world.door.sessions) == 2)
        assert {session.info.charger_id: session.info.flags for session in world.door.sessions} == {
            "CS-1": ("via-local-controller:lc-1",),
            "CS-2": ("via-local-controller:lc-1",),
        }
        assert {session.info.security_profile for session in world.door.sessions} == {2}
        assert {session.info.certificate_id for session in world.door.sessions} == {None}
        assert (await refusal(world.dial("CS-3", leaf=leaf))).status_code == 403
    assert world.reports.refused == [("CS-3", "not-spoken-for", 403)]


async def test_the_charger_itself_is_admitted_beside_its_controller(world: World) -> None:
    own, controller = world.issuing.leaf(), world.issuing.leaf("depot-controller")
    world.charger("CS-1", (own, "active"), spoken_for_by=(Speaker("lc-1", controller.fingerprint),))
    await admitted(world, world.dial(leaf=own))
    info = world.door.sessions[0].info
    assert (info.security_profile, info.flags) == (3, ())


async def test_a_controller_taken_off_the_list_loses_its_session(world: World) -> None:
    leaf = world.issuing.leaf("depot-controller")
    world.charger("CS-1", spoken_for_by=(Speaker("lc-1", leaf.fingerprint),))
    async with world.dial(leaf=leaf) as client:
        await world.door.until(lambda: bool(world.door.sessions))
        world.records.edit("CS-1", site="elsewhere")
        assert len(world.gateway.sessions) == 1
        world.records.edit("CS-1", spoken_for_by=())
        assert await closing(client) == (1008, "credential-unknown")
    assert (await refusal(world.dial(leaf=leaf))).status_code == 403
    assert world.reports.refused[-1][1] == "not-spoken-for"


@pytest.mark.parametrize("state", ["revoked", "inactive", "rejected"])
async def test_a_controllers_certificate_that_has_ended_as_another_chargers_speaks_for_nobody(
    world: World, state: str
) -> None:
    leaf = world.issuing.leaf("depot-controller")
    speaks = (Speaker("lc-1", leaf.fingerprint),)
    world.charger("CS-1", spoken_for_by=speaks)
    world.charger("CS-2", spoken_for_by=speaks)
    world.charger("LC-1", (leaf, "active"))
    async with world.dial("CS-1", leaf=leaf) as first, world.dial("CS-2", leaf=leaf) as second:
        await world.door.until(lambda: len(world.door.sessions) == 2)
        world.charger("LC-1", (leaf, state), revision=9)
        assert await closing(first) == (1008, f"credential-{state}")
        assert await closing(second) == (1008, f"credential-{state}")
    assert (await refusal(world.dial("CS-1", leaf=leaf))).status_code == 403
    assert world.reports.refused[-1][1] == f"credential-{state}"
