"""Passwords: a new one is tried, kept or thrown away; and the faults around them, in 2.0.1 and 1.6."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from simulator.charger import (
    Charger,
    ChargerMemory,
    GoesAwayAfter,
    Happening,
    KeepsOldKey,
    OcppVersion,
    RebootRequiredFor,
    RejectsSetting,
    SilentOn,
)
from tests.simulator.central_system import CentralSystem, Seen
from tests.simulator.conftest import FAMILY, PASSWORD, MakeCharger
from tests.simulator.errand import change_key, set_variable

NEW = "00112233445566778899aabbccddeeff"
"""As text the new password of 2.0.1, in hex digits that of 1.6."""
PASSWORD_SETTING = "BasicAuthPassword"


async def set_2_0_1(seen: Seen) -> str:
    return await set_variable(seen, "SecurityCtrlr", PASSWORD_SETTING, NEW)


async def set_1_6(seen: Seen) -> str:
    return await change_key(seen, "AuthorizationKey", NEW)


Setter = Callable[[Seen], Awaitable[str]]
BOTH = pytest.mark.parametrize(
    ("version", "setter", "new"),
    [(OcppVersion.V201, set_2_0_1, NEW), (OcppVersion.V16, set_1_6, bytes.fromhex(NEW))],
    ids=["2.0.1", "1.6"],
)


async def start(make_charger: MakeCharger, csms: CentralSystem, **changes: Any) -> tuple[Charger, Seen]:
    charger = await make_charger(**changes)
    await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    return charger, await csms.session("depot-1")


@BOTH
async def test_an_accepted_password_that_opens_nothing_is_given_up_for_the_old(
    version: OcppVersion, setter: Setter, new: str | bytes, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms, ocpp_version=version)
    assert await setter(seen) == "Accepted"
    back = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert back.counters[Happening.PASSWORD_DISCARDED] == 1
    assert csms.refused == [("depot-1", 401)] * 2
    assert charger.dump_memory()["pending_password"] is None


async def test_a_forgetful_charger_stays_out_with_its_new_password(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    family = replace(FAMILY, keeps_old_password=False)
    charger, seen = await start(make_charger, csms, family=family)
    assert await set_2_0_1(seen) == "Accepted"
    await csms.wait_for(lambda: len(csms.refused) >= 4)
    csms.passwords["depot-1"] = NEW
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)


async def test_a_charger_of_a_busy_central_system_keeps_trying_its_new_password(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    csms.refuses = lambda charger_id, profile, mark: 503 if len(csms.refused) < 4 else 0
    csms.passwords["depot-1"] = NEW
    assert await set_2_0_1(seen) == "Accepted"
    back = await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert Happening.PASSWORD_DISCARDED not in back.counters


@BOTH
async def test_the_old_password_may_be_kept_behind_an_accepted_change(
    version: OcppVersion, setter: Setter, new: str | bytes, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms, ocpp_version=version, faults=(KeepsOldKey(times=1),))
    assert await setter(seen) == "Accepted"
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []
    csms.passwords["depot-1"] = new
    assert await setter(await csms.session("depot-1")) == "Accepted"
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert csms.refused == []


@BOTH
async def test_a_charger_may_accept_a_password_and_never_come_back(
    version: OcppVersion, setter: Setter, new: str | bytes, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    action = "ChangeConfiguration" if version is OcppVersion.V16 else "SetVariables"
    charger, seen = await start(make_charger, csms, ocpp_version=version, faults=(GoesAwayAfter(action),))
    csms.passwords["depot-1"] = new
    assert await setter(seen) == "Accepted"
    await charger.wait_for(lambda snapshot: snapshot.state == "away")
    await csms.wait_for(lambda: not csms.live)
    charger.come_back()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []


async def test_a_reset_may_be_the_last_thing_a_charger_hears(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms, faults=(GoesAwayAfter("Reset"),))
    assert await seen.call("Reset", {"type": "OnIdle"}) == {"status": "Accepted"}
    await charger.wait_for(lambda snapshot: snapshot.state == "away")
    charger.come_back()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.sessions[1].said("BootNotification")[0]["reason"] == "RemoteReset"


@BOTH
async def test_a_password_may_wait_for_a_reset(
    version: OcppVersion, setter: Setter, new: str | bytes, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    faults = (RebootRequiredFor(PASSWORD_SETTING),)
    charger, seen = await start(make_charger, csms, ocpp_version=version, faults=faults)
    assert await setter(seen) == "RebootRequired"
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    csms.passwords["depot-1"] = new
    kind = "Hard" if version is OcppVersion.V16 else "Immediate"
    live = await csms.session("depot-1")
    assert await live.call("Reset", {"type": kind}) == {"status": "Accepted"}
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 3)
    assert csms.refused == []


@BOTH
async def test_a_password_may_be_rejected_or_met_with_silence(
    version: OcppVersion, setter: Setter, new: str | bytes, csms: CentralSystem, make_charger: MakeCharger
) -> None:
    action = "ChangeConfiguration" if version is OcppVersion.V16 else "SetVariables"
    faults = (RejectsSetting(PASSWORD_SETTING, times=1), SilentOn(action, times=1))
    charger, seen = await start(make_charger, csms, ocpp_version=version, faults=faults)
    with pytest.raises(TimeoutError):
        await seen.call(*_change(version), timeout=0.05)
    assert await setter(seen) == "Rejected"
    charger.cut()
    await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    assert csms.refused == []
    assert csms.passwords["depot-1"] == PASSWORD


def _change(version: OcppVersion) -> tuple[str, dict[str, Any]]:
    if version is OcppVersion.V16:
        return "ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW}
    entry = {
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": PASSWORD_SETTING},
        "attributeValue": NEW,
    }
    return "SetVariables", {"setVariableData": [entry]}


async def test_both_passwords_survive_a_restart_of_the_simulator(
    csms: CentralSystem, make_charger: MakeCharger
) -> None:
    charger, seen = await start(make_charger, csms)
    csms.refuses = lambda charger_id, profile, mark: 503
    assert await set_2_0_1(seen) == "Accepted"
    await csms.wait_for(lambda: csms.refused)
    dumped = charger.dump_memory()
    await charger.stop()
    assert (dumped["basic_password"], dumped["pending_password"]) == (PASSWORD, NEW)
    csms.refuses = lambda charger_id, profile, mark: 0
    csms.passwords["depot-1"] = NEW
    again = await make_charger(
        charger_id="depot-1", memory=lambda configuration: ChargerMemory.load(dumped, configuration)
    )
    await again.wait_for(lambda snapshot: snapshot.is_accepted)
    assert again.dump_memory()["basic_password"] == NEW
