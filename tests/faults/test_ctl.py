"""`run.py ctl` against a running system with simulated chargers: a family qualified, lists in 80 columns, and a trace."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.ctl.tool import COMMANDS
from simulator.charger import Charger
from simulator.fleet import AdminClient, Fleet, FleetPlan
from simulator.fleet.version_text import parse_versions
from tests.conformance.control_plane import ControlPlane
from tests.faults.depot import EAGER
from tests.faults.plant import RUN
from tests.integration.ctl_world import RealTime, run
from tests.integration.ctl_world import Said as ToolSaid
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.xdist_group("up")

COLUMNS = 80
_seeds = itertools.count(1)
"""Another seed, other serial numbers."""


@dataclass(frozen=True)
class Said:
    """One run of the tool."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return (self.out + self.err).splitlines()


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.running() as running:
        yield running


@pytest.fixture
def token_file(plane: ControlPlane, tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(plane.token + "\n")
    return path


async def ctl(plane: ControlPlane, token_file: Path, *words: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            str(RUN),
            "ctl",
            *words,
            "--admin",
            plane.admin_url,
            "--token-file",
            str(token_file),
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def fleet_of(
    plane: ControlPlane, version: str, prefix: str, chargers: int = 1
) -> AsyncIterator[list[Charger]]:
    plan = FleetPlan(
        chargers=chargers,
        target_url=plane.ocpp_url.replace("127.0.0.1", "localhost"),
        prefix=prefix,
        seed=next(_seeds),
        reconnect=EAGER,
        versions=parse_versions(f"{version}=1"),
    )
    async with AdminClient(plane.admin_url, plane.token, attempts=60, retry_s=0.2) as admin:
        roots = await admin.server_roots()
        enrolment = await admin.enrol(plan, plan.planned())
    fleet = Fleet(
        [
            plan.configuration(each, password=enrolment.passwords[each.charger_id], csms_roots=roots)
            for each in plan.planned()
        ]
    )
    await fleet.start()
    try:
        for charger in fleet.chargers:
            await charger.wait_for(lambda seen: seen.is_accepted, PATIENCE_S)
        yield list(fleet.chargers)
    finally:
        await fleet.stop()


def steps(report: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in report["steps"]}


@pytest.mark.parametrize("version", ["1.6", "2.0.1", "2.1"])
async def test_a_charger_is_walked_and_its_family_qualified(
    plane: ControlPlane, token_file: Path, version: str
) -> None:
    async with fleet_of(plane, version, f"q{version.replace('.', '')}") as (charger,):
        charger_id = charger.configuration.charger_id
        family = (await plane.charger(charger_id))["family"]
        await plane.until_charger(charger_id, lambda seen: seen["session"] and seen["boot"])
        said = await ctl(
            plane, token_file, "family", "qualify", "--charger", charger_id, "--family", family, "--json"
        )
        print(said.out, said.err)
        report = json.loads(said.out)
        told = steps(report)
        for name in (
            "read-limits",
            "key-rotation",
            "anchor-install",
            "anchor-listing",
            "key-generation-and-csr",
            "certificate-install",
            "mutual-tls-reconnect",
            "log-upload",
        ):
            assert told[name] == "passed", (name, report)
        assert told["fall-back"] == "skipped"
        assert (said.status, report["passed"]) == (0, True)
        recorded = await plane.get(f"/api/v1/families/{family}")
        assert recorded["qualification"]["passed"] is True
        assert recorded["qualification"]["firmware"] == report["firmware"] != "unknown"
        assert recorded["capabilities"]["max_chain_chars"] > 0
        assert recorded["capabilities"]["key_types"]
        assert (await plane.charger(charger_id))["session"]["security_profile"] == 3
        again = await ctl(plane, token_file, "family", "qualify", "--charger", charger_id, "--family", family)
        print(again.out)
        assert again.status == 0, again
        assert [line for line in again.lines if len(line) > COLUMNS] == []
        assert "nothing new" in again.out


async def test_what_cannot_stand_for_a_family_is_status_2(plane: ControlPlane, token_file: Path) -> None:
    async with fleet_of(plane, "2.0.1", "w") as (charger,):
        charger_id = charger.configuration.charger_id
        qualify = ("family", "qualify", "--charger", charger_id, "--family")
        other = await ctl(plane, token_file, *qualify, "somebody-else")
        assert (other.status, "belongs to the family" in other.err) == (2, True)
    family = (await plane.until_charger(charger_id, lambda seen: seen["session"] is None))["family"]
    away = await ctl(plane, token_file, *qualify, family)
    assert (away.status, "not connected" in away.err) == (2, True)
    unknown = await ctl(plane, token_file, "family", "qualify", "--charger", "nobody", "--family", family)
    assert unknown.status == 2
    assert [line for said in (other, away, unknown) for line in said.lines if len(line) > COLUMNS] == []


async def test_lists_are_tables_of_80_columns_or_json(plane: ControlPlane, token_file: Path) -> None:
    async with fleet_of(plane, "2.0.1", "a-very-long-prefix-of-a-charger-id") as (charger,):
        charger_id = charger.configuration.charger_id
        await plane.until_charger(charger_id, lambda seen: seen["session"])
        await plane.order(charger_id)
        for thing in ("chargers", "jobs", "families"):
            table = await ctl(plane, token_file, thing)
            assert table.status == 0
            assert [line for line in table.lines if len(line) > COLUMNS] == []
            rows = json.loads((await ctl(plane, token_file, thing, "--json")).out)["items"]
            assert len(rows) == len(table.lines) - 1
        connected = json.loads((await ctl(plane, token_file, "chargers", "--connected", "--json")).out)
        assert charger_id in {one["charger_id"] for one in connected["items"]}
        few = await ctl(plane, token_file, "chargers", "--q", charger_id, "--limit", "1")
        assert len(few.lines) == 2


@pytest.fixture
def tool(plane: ControlPlane, token_file: Path) -> Callable[..., Awaitable[ToolSaid]]:
    """The tool in this process: nothing but its start is left out, and no line may be too wide."""
    return lambda *words: run(plane.admin_url, token_file, RealTime(), *words)


READS = [
    (each.thing, each.action) if each.action else (each.thing,)
    for each in COMMANDS
    if each.action in ("list", "baseline", "counts", "subscriptions", "checkpoints") or each.thing == "events"
]


async def test_everything_that_can_be_listed_is_listed(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]]
) -> None:
    async with fleet_of(plane, "2.0.1", "everything") as (charger,):
        await plane.until_charger(charger.configuration.charger_id, lambda seen: seen["session"])
        assert len(READS) >= 20
        for words in READS:
            said = await tool(*words)
            assert (said.status, said.err) == (0, ""), (words, said)
            assert (await tool(*words, "--json")).body is not None


@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
async def test_one_charger_is_led_from_its_first_certificate_to_its_revocation(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]], tmp_path: Path, version: str
) -> None:
    async with fleet_of(plane, version, f"led{version.replace('.', '')}") as (charger,):
        charger_id = charger.configuration.charger_id
        await plane.until_charger(charger_id, lambda seen: seen["session"])
        wait = ("--reason", "test", "--wait", "--within", "40")
        rotated = await tool("key", "rotate", charger_id, *wait)
        assert rotated.status == 0, rotated
        issued = await tool("jobs", "open", "issue", "--charger", charger_id, *wait, "--json")
        assert (issued.status, issued.body["state"]) == (0, "succeeded"), issued
        assert "awaiting-trust-anchor" in issued.err, "told while it was on its way"
        certificate_id = issued.body["certificate_id"]
        shown = await tool("jobs", "show", issued.body["job_id"])
        assert "CertificateInstalled" in shown.out
        assert certificate_id in (await tool("chargers", "show", charger_id)).out
        assert "active, managed" in (await tool("certificates", "show", certificate_id)).out
        pem = (await tool("certificates", "show", certificate_id, "--pem")).out
        assert pem.startswith("-----BEGIN CERTIFICATE-----")
        assert (await tool("anchor", "install", charger_id, *wait)).status == 0
        renewed = await tool("jobs", "open", "renew", "--charger", charger_id, *wait)
        assert renewed.status == 0, renewed
        log = tmp_path / "charger.log"
        fetched = await tool(
            "log", "fetch", charger_id, "--save", str(log), "--reason", "test", "--within", "40"
        )
        assert (fetched.status, log.stat().st_size > 0) == (0, True), fetched
        payload = '{"requestedMessage": "Heartbeat"}'
        called = await tool("call", charger_id, "TriggerMessage", "--payload", payload)
        assert (called.status, "answered" in called.out) == (0, True), called
        current = (await plane.charger(charger_id))["slots"][0]["current"]["certificate_id"]
        assert current != certificate_id
        revoked = await tool(
            *("certificates", "revoke", current, "--reason", "key_compromise", "--wait", "--within", "40")
        )
        assert revoked.status == 0, revoked
        assert "revoked" in (await tool("certificates", "show", current)).out
        refused = await tool("certificates", "revoke", "nothing", "--reason", "superseded")
        assert (refused.status, "there is no certificate" in refused.err) == (2, True)


async def test_many_are_shown_then_ordered_then_never_again(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]], tmp_path: Path
) -> None:
    async with fleet_of(plane, "2.0.1", "many", chargers=4) as fleet:
        ids = [each.configuration.charger_id for each in fleet]
        for charger_id in ids:
            await plane.until_charger(charger_id, lambda seen: seen["session"])
        file = tmp_path / "ids"
        file.write_text("\n".join([*ids, "nobody-of-that-name"]))
        words = ("jobs", "open", "issue", "--from-file", str(file), "--reason", "first")
        looked = await tool(*words, "--json")
        assert (looked.status, looked.body["outlook"]["ordered, begins now"]) == (0, 4)
        assert [(await plane.charger(each))["slots"] for each in ids] == [[]] * 4
        done = await tool(*words, "--yes", "--wait", "--within", "60", "--json")
        assert done.status == 1, "one was refused"
        assert [each["state"] for each in done.body["ordered"]] == ["succeeded"] * 4, done
        assert [each["code"] for each in done.body["refused"]] == ["unknown-charger"]
        again = await tool(*words, "--yes", "--json")
        jobs = [
            {each["charger_id"]: each["job_id"] for each in said.body["ordered"]} for said in (done, again)
        ]
        assert jobs[0] == jobs[1]
        certificates = [row["charger_id"] for row in (await tool("certificates", "--json")).body["items"]]
        assert [certificates.count(each) for each in ids] == [1] * 4


async def test_a_policy_is_looked_at_saved_and_taken_back(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]]
) -> None:
    async with fleet_of(plane, "2.0.1", "policy") as (charger,):
        charger_id = charger.configuration.charger_id
        cohort = (await plane.charger(charger_id))["cohort"]
        change = ("policies", "set", f"cohort:{cohort}/charging_station", "--reason", "slow modems")
        looked = await tool(*change, "reconnect_wait_s=601", "blackout_hours=05:00-08:30")
        assert (looked.status, "nothing was saved" in looked.out) == (0, True)
        assert "built-in" in (await tool("policies", "effective", charger_id, "--set")).out
        saved = await tool(*change, "reconnect_wait_s=601", "blackout_hours=05:00-08:30", "--yes")
        assert saved.status == 0, saved
        effective = (await tool("policies", "effective", charger_id, "--set")).out
        assert "601" in effective
        assert "05:00-08:30" in effective
        back = await tool(*change, "reconnect_wait_s=", "blackout_hours=", "--yes")
        assert back.status == 0, back
        assert "built-in" in (await tool("policies", "effective", charger_id, "--set")).out
        bad = await tool(*change, "renew_before_days=9999", "--yes")
        assert bad.status == 2, bad


async def test_a_family_is_paused_and_taken_up_again(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]]
) -> None:
    async with fleet_of(plane, "2.0.1", "paused") as (charger,):
        charger_id = charger.configuration.charger_id
        family = (await plane.until_charger(charger_id, lambda seen: seen["session"]))["family"]
        words = ("family", family, "--reason", "test")
        assert "nothing was done" in (await tool("supervisors", "pause", *words)).out
        assert (await tool("supervisors", "pause", *words, "--yes")).status == 0
        try:
            order = ("jobs", "open", "issue", "--charger", charger_id, "--reason", "x")
            held = await tool(*order, "--wait", "--within", "3")
            assert (held.status, "held" in held.out) == (3, True), held
        finally:
            assert (await tool("supervisors", "resume", *words, "--yes")).status == 0
        assert (await tool(*order, "--wait", "--within", "40")).status == 0


async def test_an_incident_is_forecast_and_held_and_the_ca_names_who_hangs_on_it(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]]
) -> None:
    async with fleet_of(plane, "2.0.1", "incident") as (charger,):
        charger_id = charger.configuration.charger_id
        await plane.until_charger(charger_id, lambda seen: seen["session"])
        issued = await tool("jobs", "open", "issue", "--charger", charger_id, "--reason", "x", "--wait")
        assert issued.status == 0, issued
        certificate_id = (await plane.charger(charger_id))["slots"][0]["current"]["certificate_id"]
        chosen = ("--mode", "revoke", "--certificate", certificate_id)
        found = (await tool("incidents", "forecast", *chosen, "--json")).body
        assert (found["certificates"], found["locked_out"]) == (1, 1)
        assert "LOCKED OUT: 1 chargers" in (await tool("incidents", "forecast", *chosen)).out
        nobody = await tool("incidents", "forecast", "--mode", "revoke")
        assert (nobody.status, "at least one criterion" in nobody.err) == (2, True)
        current = [
            row["authority_id"]
            for row in (await tool("authorities", "--json")).body["items"]
            if (row["purpose"], row["state"]) == ("charging_station", "current")
        ]
        assert len(current) == 1
        assert "ACTIVE" in (await tool("authorities", "show", *current)).out
        assert charger_id in (await tool("authorities", "holders", *current)).out
        opening = ("incidents", "open", "--name", "a look", *chosen, "--reason", "x")
        assert "nothing was opened" in (await tool(*opening)).out
        held = await tool(*opening, "--yes", "--json")
        assert (held.status, held.body["kind"]) == (3, "incident"), held
        assert (await tool("incidents", "--json")).body["items"] == []
        word = {"content_hash": held.body["content_hash"], "reason": "agreed"}
        await plane.second_person().post(f"/api/v1/approvals/{held.body['approval_id']}/approve", word)
        (opened,) = (await tool("incidents", "--json")).body["items"]
        incident_id = opened["incident_id"]
        # the charger's partition hears of it a moment after its approval
        await plane.until_items(f"/api/v1/incidents/{incident_id}/targets", lambda targets: len(targets) == 1)
        assert certificate_id in (await tool("incidents", "targets", incident_id)).out
        assert "incidents" not in (await tool("incidents", "show", incident_id)).err
        for step in (("pause",), ("resume",), ("advance", "--percent", "100"), ("end",)):
            words = ("incidents", step[0], incident_id, *step[1:], "--reason", "x")
            assert "nothing was done" in (await tool(*words)).out
            done = await tool(*words, "--yes", "--json")
            assert done.status == 0, done
        assert done.body["state"] == "ended"
        none = await tool("rollover", "show", "charging_station")
        assert none.status == 2, none


async def test_a_vehicle_is_registered_found_forgotten_and_retired(
    tool: Callable[..., Awaitable[ToolSaid]], tmp_path: Path
) -> None:
    vin = "WDB2030461A123456"
    file = tmp_path / "vin.txt"
    file.write_text(vin + "\n")
    made = await tool("identities", "register", "vehicle", f"vin=@{file}", "--cohort", "buses", "--json")
    assert made.status == 0, made
    identity_id = made.body["identity_id"]
    assert vin not in made.out
    found = await tool("identities", "--vin", f"@{file}", "--json")
    assert [row["identity_id"] for row in found.body["items"]] == [identity_id]
    erased = await tool("identities", "erase", identity_id, "--reason", "asked for")
    assert (erased.status, "vin erased" in erased.out) == (0, True), erased
    for _ in range(2):
        retired = await tool("identities", "retire", identity_id, "--json")
        assert (retired.status, retired.body["state"]) == (0, "retired"), retired
    again = await tool("identities", "register", "vehicle", "vin=not-a-vin")
    assert again.status == 2, again


async def test_a_bundle_and_a_family_are_shown_first(
    plane: ControlPlane, tool: Callable[..., Awaitable[ToolSaid]], tmp_path: Path
) -> None:
    async with fleet_of(plane, "2.0.1", "facts") as (charger,):
        await plane.until_charger(charger.configuration.charger_id, lambda seen: seen["session"])
        family = (await plane.charger(charger.configuration.charger_id))["family"]
        change = ("families", "set", family, "csr_wait_s=77", "--note", "bulletin 7")
        assert "Nothing was saved" in (await tool(*change)).out
        assert "csr_wait_s 77" in (await tool(*change, "--yes")).out
        assert "bulletin 7" in (await tool("families", "set", family, "csr_wait_s=", "--yes")).out
        assert "csr_wait_s" not in (await tool("families", "show", family)).out
    rows = (await tool("bundles", "--json")).body["items"]
    current = next(row for row in rows if row["current"])
    shown = (await tool("bundles", "show", current["bundle_id"], "--json")).body
    file = tmp_path / "anchors.pem"
    file.write_text("".join(anchor["pem"] for anchor in shown["anchors"]))
    same = await tool("bundles", "create", shown["purpose"], str(file))
    assert "it would change nothing" in same.out, same


async def test_a_trace_shows_what_a_charger_and_we_say(plane: ControlPlane) -> None:
    async with fleet_of(plane, "2.0.1", "t") as (charger,):
        charger_id = charger.configuration.charger_id
        await plane.until_charger(charger_id, lambda seen: seen["session"])
        path = f"/api/v1/chargers/{charger_id}/trace"
        begun = await plane.post(path, {"reason": "a look", "seconds": 60, "frames": 50})
        assert (begun["running"], begun["frames"]) == (True, [])
        job_id = await plane.order(charger_id)
        await plane.until_job(job_id, lambda job: job["state"] != "open")
        frames = (await plane.get(path))["frames"]
        told = {(frame["direction"], frame["kind"], frame["action"]) for frame in frames}
        assert ("to-charger", "call", "CertificateSigned") in told
        assert ("from-charger", "result", "CertificateSigned") in told
        assert ("from-charger", "call", "SignCertificate") in told
        assert "BEGIN CERTIFICATE" not in json.dumps(frames)
        assert len({frame["session_id"] for frame in frames}) == 2, "the reconnect is in it"
