"""A fleet: planned the same way twice, enrolled through the admin API, lost and found as one."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import stat
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from simulator.charger import (
    ClockSkew,
    CsrDress,
    DressesCsr,
    FloodsSecurityEvents,
    HashStyle,
    ListsCertificatesAs,
    OcppVersion,
    RejectsCertificate,
    SendsGarbage,
    SilentOn,
    StoreFull,
)
from simulator.charger.configuration import ReconnectBackoff
from simulator.fleet import AdminClient, AdminRefused, Fleet, FleetPlan, add_arguments, main
from simulator.fleet.fault_text import parse_faults
from simulator.fleet.version_text import parse_versions
from tests.patience import PATIENCE_S
from tests.simulator.admin_api import AdminApi
from tests.simulator.authority import pem
from tests.simulator.central_system import CentralSystem
from tests.simulator.conftest import MakeCharger, Pki

SWIFT = ReconnectBackoff(timedelta(milliseconds=10), timedelta(milliseconds=10), 2)


@pytest.fixture
async def admin(pki: Pki, csms: CentralSystem) -> AsyncIterator[AdminApi]:
    roots = pem(pki.server_root.certificate) + pem(pki.identity_root.certificate)
    async with AdminApi(csms, roots).listen() as api:
        yield api


def plan_for(csms: CentralSystem, chargers: int) -> FleetPlan:
    return FleetPlan(chargers, csms.url, reconnect=SWIFT)


async def enrolled(plan: FleetPlan, admin: AdminApi, *, connects_at_once: int = 16) -> Fleet:
    async with AdminClient(admin.base, "let-me-in") as client:
        roots = await client.server_roots()
        passwords = (await client.enrol(plan, plan.planned())).passwords
    return Fleet(
        (
            plan.configuration(each, password=passwords[each.charger_id], csms_roots=roots)
            for each in plan.planned()
        ),
        connects_at_once=connects_at_once,
    )


def test_a_plan_gives_the_same_chargers_each_time_and_others_for_another_seed() -> None:
    plan = FleetPlan(48, "wss://host/ocpp", families=6, sites=2, faults={3: (StoreFull(),)})
    chargers = plan.planned()
    assert chargers == plan.planned()
    assert len({each.charger_id for each in chargers} | {each.serial_number for each in chargers}) == 96
    assert len({each.family.name for each in chargers}) == 6
    assert {(each.family.name, each.site) for each in chargers} == {
        (family, site) for family in {each.family.name for each in chargers} for site in ("site-1", "site-2")
    }
    assert [each.index for each in chargers if each.faults] == [3]
    assert max(len(each.serial_number) for each in chargers) <= 25
    others = FleetPlan(48, "wss://host/ocpp", seed=2).planned()
    assert not {each.serial_number for each in chargers} & {each.serial_number for each in others}


def test_a_plan_spreads_versions_by_their_parts_over_the_whole_fleet() -> None:
    assert {each.ocpp_version for each in FleetPlan(10, "wss://host/ocpp").planned()} == {OcppVersion.V201}
    mix = parse_versions("2.0.1=50,1.6=40,2.1=10")
    chargers = FleetPlan(100, "wss://host/ocpp", versions=mix).planned()
    assert Counter(each.ocpp_version for each in chargers) == {"2.0.1": 50, "1.6": 40, "2.1": 10}
    assert Counter(each.ocpp_version for each in chargers[:10]) == {"2.0.1": 5, "1.6": 4, "2.1": 1}
    plain = FleetPlan(100, "wss://host/ocpp").planned()
    assert [each.serial_number for each in chargers] == [each.serial_number for each in plain]
    for wrong in ("", "1.5=3", "1.6=x", "1.6=-1", "1.6=0"):
        with pytest.raises(ValueError, match=r"version|PARTS|chargers"):
            parse_versions(wrong)


async def test_a_fleet_of_all_versions_connects_and_is_registered_by_them(
    csms: CentralSystem, admin: AdminApi
) -> None:
    mix = parse_versions("2.0.1=2,1.6=2,2.1=1")
    fleet = await enrolled(replace(plan_for(csms, 10), versions=mix), admin)
    await fleet.start()
    try:
        for charger in fleet.chargers:
            await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    finally:
        await fleet.stop()
    registered = {body["charger_id"]: f"ocpp{body['ocpp_versions'][0]}" for _, _, body in admin.requests}
    assert {seen.charger_id: seen.subprotocol for seen in csms.sessions} == registered
    assert Counter(registered.values()) == {"ocpp2.0.1": 4, "ocpp1.6": 4, "ocpp2.1": 2}


async def test_enrolment_waits_out_a_busy_system_under_one_idempotency_key_per_charger(
    csms: CentralSystem, admin: AdminApi
) -> None:
    admin.busy = 5
    plan = plan_for(csms, 3)
    admin.refuses = {plan.planned()[2].charger_id}
    async with AdminClient(admin.base, "let-me-in", requests_at_once=2) as client:
        result = await client.enrol(plan, plan.planned())
        again = await client.enrol(plan, plan.planned()[:1])
    first, second, third = (each.charger_id for each in plan.planned())
    assert result.passwords == {name: f"password-of-{name}" for name in (first, second)}
    assert result.refused == {third: "POST /api/v1/chargers: HTTP 422 Refused: no such family"}
    assert "shown before" in again.refused[first]
    keys = {(key, body["charger_id"]) for _, key, body in admin.requests}
    assert len(admin.requests) == 9
    assert len(keys) == 3
    assert "password-of" not in repr(result)


async def test_a_wrong_token_is_a_reason_not_a_retry(csms: CentralSystem, admin: AdminApi) -> None:
    plan = plan_for(csms, 1)
    async with AdminClient(admin.base, "wrong") as client:
        result = await client.enrol(plan, plan.planned())
    assert list(result.refused.values()) == ["POST /api/v1/chargers: HTTP 401 Unauthorized"]
    assert len(admin.requests) == 1


async def test_an_absent_admin_api_is_a_reason() -> None:
    async with AdminClient("http://127.0.0.1:9", "x", attempts=2, retry_s=0) as client:
        with pytest.raises(AdminRefused, match="central_system"):
            await client.server_roots()


async def test_a_fleet_of_all_families_connects_vanishes_and_returns(
    csms: CentralSystem, admin: AdminApi
) -> None:
    fleet = await enrolled(plan_for(csms, 12), admin)
    await fleet.start()
    try:
        for charger in fleet.chargers:
            await charger.wait_for(lambda snapshot: snapshot.is_accepted)
        assert fleet.count().as_json() == {
            "chargers": 12,
            "accepted": 12,
            "by_profile": {"2": 12},
            "by_state": {"accepted": 12},
            "certificates": 0,
            "sessions": 12,
            "errors": 0,
        }
        fleet.drop_all()
        await csms.wait_for(lambda: not csms.live)
        for charger in fleet.chargers:
            await charger.wait_for(lambda snapshot: snapshot.state == "away")
        fleet.return_all()
        for charger in fleet.chargers:
            await charger.wait_for(lambda snapshot: snapshot.is_accepted and snapshot.sessions == 2)
    finally:
        await fleet.stop()
    assert fleet.count().by_state == {"stopped": 12}


async def test_no_more_chargers_connect_at_once_than_allowed(
    csms: CentralSystem, admin: AdminApi, make_charger: MakeCharger
) -> None:
    fleet = await enrolled(plan_for(csms, 6), admin, connects_at_once=2)
    at_the_door: set[str] = set()
    arrived, opened = asyncio.Event(), asyncio.Event()

    async def hold(charger_id: str) -> None:
        if charger_id.startswith("sim-"):
            at_the_door.add(charger_id)
            if len(at_the_door) == 2:
                arrived.set()
            await opened.wait()

    csms.before_admission = hold
    await fleet.start()
    try:
        await asyncio.wait_for(arrived.wait(), PATIENCE_S)
        # A charger outside the fleet sets out later and gets in: time enough for a third of the fleet.
        stranger = await make_charger()
        await stranger.wait_for(lambda snapshot: snapshot.is_accepted)
        assert len(at_the_door) == 2
        opened.set()
        for charger in fleet.chargers:
            await charger.wait_for(lambda snapshot: snapshot.is_accepted)
    finally:
        opened.set()
        await fleet.stop()


async def test_jobs_are_ordered_once_per_occasion(csms: CentralSystem, admin: AdminApi) -> None:
    async with AdminClient(admin.base, "let-me-in") as client:
        for _ in range(2):
            assert await client.order("issue", ["a", "b"], "today") == {}
        assert await client.order("migrate", ["a"], "today") == {}
    keys = [key for _, key, _ in admin.requests]
    assert len(keys) == 5
    assert len(set(keys)) == 3
    assert admin.requests[-1][0] == "/api/v1/chargers/a/migration"
    assert admin.requests[0][2]["purpose"] == "charging_station"


def test_faults_are_read_from_words() -> None:
    texts = ["3:StoreFull", "3:RejectsCertificate,2", "0:SilentOn,SignCertificate", "1:ClockSkew,-3600"]
    texts += ["4:DressesCsr,crlf", "4:ListsCertificatesAs,upper-case", "5:FloodsSecurityEvents,Loud,30"]
    assert parse_faults([*texts, "2:SendsGarbage,[2"]) == {
        4: (DressesCsr(CsrDress.CRLF), ListsCertificatesAs(HashStyle.UPPER_CASE)),
        5: (FloodsSecurityEvents("Loud", 30),),
        3: (StoreFull(), RejectsCertificate(2)),
        0: (SilentOn("SignCertificate"),),
        1: (ClockSkew(timedelta(hours=-1)),),
        2: (SendsGarbage(("[2",)),),
    }
    for wrong in ("StoreFull", "x:StoreFull", "1:Storm", "1:SilentOn", "1:StoreFull,1"):
        with pytest.raises(ValueError, match=r"INDEX|fault|takes"):
            parse_faults([wrong])


@pytest.mark.parametrize(
    "options",
    [
        ["--target", "https://host"],
        ["--target", "wss://host/ocpp"],
        ["--target", "wss://host/ocpp", "--no-enrol"],
        ["--target", "wss://host/ocpp", "--chargers", "0"],
        ["--target", "wss://host/ocpp", "--no-enrol", "--state-file", "run.py", "--versions", "3"],
    ],
)
async def test_options_without_sense_end_with_status_2(options: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert await main(parser.parse_args(options)) == 2


async def run_command(*options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulator.fleet",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_enrols_stops_on_interrupt_and_continues_from_its_state_file(
    csms: CentralSystem, admin: AdminApi, tmp_path: Path
) -> None:
    token, state = tmp_path / "token", tmp_path / "state.json"
    token.write_text("let-me-in\n")
    options = ["--chargers", "3", "--target", csms.url, "--state-file", str(state)]
    options += ["--versions", "2.0.1,1.6,2.1"]
    process = await run_command(*options, "--admin", admin.base, "--token-file", str(token), "--job", "issue")
    try:
        await csms.wait_for(lambda: sum(bool(seen.said("StatusNotification")) for seen in csms.sessions) == 3)
        process.send_signal(signal.SIGINT)
        output, complaints = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert process.returncode == 0, complaints.decode()
        summary = json.loads(output)
        assert (summary["accepted"], summary["refused"]) == (3, {})
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert sum(path == "/api/v1/jobs" for path, _, _ in admin.requests) == 3
        assert "password-of" not in (output + complaints).decode()

        process = await run_command(*options, "--no-enrol", "--duration", "60")
        await csms.wait_for(lambda: sum(bool(seen.said("StatusNotification")) for seen in csms.sessions) == 6)
        process.send_signal(signal.SIGTERM)
        output, complaints = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        assert (process.returncode, json.loads(output)["sessions"]) == (0, 3), complaints.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
