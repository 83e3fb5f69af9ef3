"""What the tool says of chargers, families, people told and retention: what is sent, and what is only shown first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bfactors.errors import SettingsError
from bfactors.x509 import parse_certificate
from tests.core import pki
from tests.integration.ctl_world import CHARGER, Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]

PATH = "/api/v1/chargers/CP-1"
ENTRY = CHARGER | {
    "serial_number": "SN1",
    "site": "depot",
    "cohort": "pilot",
    "security_profile": 2,
    "target_security_profile": 3,
    "authorization_key": None,
}
ANCHOR = {"fingerprint_sha256": "cd" * 32, "subject": "CN=Old", "not_after": "2030-01-01T00:00:00Z"}
FAMILY: dict[str, Any] = {"family": "acme", "factory_anchors": [ANCHOR]}
SUBSCRIPTION: dict[str, Any] = {"subscription_id": "sub-1", "channel": "webhook", "target": "hooks.example"}


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
def ctl(url: str, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, Time(), *words)


async def test_a_charger_is_registered_and_its_key_shown_once(api: Api, ctl: Ctl) -> None:
    api.says("POST", "/api/v1/chargers", ENTRY | {"authorization_key": "made-for-it-alone"}, 201)
    places = ("--family", "acme", "--site", "depot", "--cohort", "pilot", "--profile", "2")
    said = await ctl("chargers", "register", "CP-1", "SN1", *places, "--ocpp-version", "1.6")
    assert api.sent("POST", "/api/v1/chargers") == [
        {
            "charger_id": "CP-1",
            "serial_number": "SN1",
            "family": "acme",
            "site": "depot",
            "cohort": "pilot",
            "security_profile": 2,
            "ocpp_versions": ["1.6"],
        }
    ]
    assert (said.status, "made-for-it-alone" in said.out) == (0, True)


async def test_a_key_of_its_own_comes_from_a_file_and_is_not_printed(
    api: Api, ctl: Ctl, tmp_path: Path
) -> None:
    api.says("POST", "/api/v1/chargers", ENTRY | {"authorization_key": {"origin": "given"}}, 201)
    (tmp_path / "key").write_text("factory-key-0001\n")
    key = ("--authorization-key", f"@{tmp_path / 'key'}")
    places = ("--family", "acme", "--site", "depot", "--cohort", "pilot", "--profile", "2")
    said = await ctl("chargers", "register", "CP-1", "SN1", *places, *key)
    assert api.sent("POST", "/api/v1/chargers")[0]["authorization_key"] == "factory-key-0001"
    assert "factory-key-0001" not in said.out + said.err
    with pytest.raises(SettingsError, match="cannot be read"):
        await ctl("chargers", "register", "CP-1", "SN1", *places, "--authorization-key", "@/nowhere")


async def test_only_what_is_named_of_a_charger_changes(api: Api, ctl: Ctl) -> None:
    api.says("PATCH", PATH, ENTRY | {"cohort": "wave-1"})
    assert (await ctl("chargers", "set", "CP-1", "--cohort", "wave-1")).status == 0
    assert api.sent("PATCH", PATH) == [{"cohort": "wave-1"}]
    with pytest.raises(SettingsError, match="nothing to change"):
        await ctl("chargers", "set", "CP-1")


async def test_capabilities_that_are_not_named_stay(api: Api, ctl: Ctl) -> None:
    api.answers["GET", PATH] = [(200, CHARGER | {"capabilities": {"no_ping": True, "cannot_list": False}})]
    api.says("PUT", f"{PATH}/capabilities", CHARGER)
    await ctl("chargers", "capabilities", "CP-1", "max_chain_chars=5600", "--reason", "seen")
    capabilities = {"no_ping": True, "max_chain_chars": 5600}
    assert api.sent("PUT", f"{PATH}/capabilities") == [{"capabilities": capabilities, "reason": "seen"}]


async def test_nobody_speaks_for_a_charger_only_if_that_is_said(api: Api, ctl: Ctl) -> None:
    api.says("PUT", f"{PATH}/spoken-for-by", CHARGER)
    with pytest.raises(SettingsError, match="--nobody"):
        await ctl("chargers", "spoken-for", "CP-1", "--reason", "x")
    with pytest.raises(SettingsError, match="no CONTROLLER=FINGERPRINT"):
        await ctl("chargers", "spoken-for", "CP-1", "lc-1", "--reason", "x")
    assert api.sent("PUT", f"{PATH}/spoken-for-by") == []
    await ctl("chargers", "spoken-for", "CP-1", "--nobody", "--reason", "x")
    assert api.sent("PUT", f"{PATH}/spoken-for-by") == [{"controllers": [], "reason": "x"}]


async def test_a_trace_is_begun_and_read(api: Api, ctl: Ctl) -> None:
    trace = {
        "charger_id": "CP-1",
        "running": True,
        "until": "2026-03-01T12:00:00Z",
        "frames": [{"text": "[2]"}],
    }
    api.says("POST", f"{PATH}/trace", trace, 202)
    api.says("GET", f"{PATH}/trace", trace | {"running": False})
    said = await ctl("chargers", "trace", "CP-1", "--seconds", "5", "--reason", "odd")
    assert "runs until" in said.out
    assert api.sent("POST", f"{PATH}/trace") == [{"reason": "odd", "seconds": 5}]
    said = await ctl("chargers", "traced", "CP-1")
    assert "ended" in said.out
    assert '{"text":"[2]"}' in said.out


async def test_factory_anchors_are_shown_against_those_they_replace_and_saved_with_yes(
    api: Api, ctl: Ctl, tmp_path: Path
) -> None:
    pem = pki.ca("Maker").root_pem
    (tmp_path / "maker.pem").write_text(pem)
    path, words = "/api/v1/families/acme", ("families", "set-factory-anchors", "acme")
    api.says("GET", path, FAMILY)
    api.says("PUT", f"{path}/factory-anchors", FAMILY)
    said = await ctl(*words, str(tmp_path / "maker.pem"))
    assert "nothing was saved" in said.out
    assert f"comes  {parse_certificate(pem).fingerprint_sha256[:16]}" in said.out
    assert "GOES   cdcdcdcdcdcdcdcd  CN=Old" in said.out
    assert api.sent("PUT", f"{path}/factory-anchors") == []
    await ctl(*words, str(tmp_path / "maker.pem"), "--yes")
    await ctl(*words, "--none", "--yes")
    sent = [body["anchors"] for body in api.sent("PUT", f"{path}/factory-anchors")]
    assert [[each.strip() for each in anchors] for anchors in sent] == [[pem.strip()], []]
    with pytest.raises(SettingsError, match="--none"):
        await ctl(*words, "--yes")


async def test_an_address_is_subscribed_tried_and_forgotten(api: Api, ctl: Ctl) -> None:
    path = "/api/v1/notification-subscriptions"
    api.says("POST", path, SUBSCRIPTION | {"signing_key": "the-signing-key"}, 201)
    said = await ctl(
        "notifications", "subscribe", "https://hooks.example/x", "--role", "operator", "--kind", "lockout"
    )
    body = {"address": "https://hooks.example/x", "role": "operator", "kinds": ["lockout"]}
    assert api.sent("POST", path) == [body]
    assert "the-signing-key" in said.out
    api.says("POST", f"{path}/sub-1/test", {"outcome": "failed", "error": "HTTP 500"})
    said = await ctl("notifications", "test", "sub-1")
    assert (said.status, said.out.strip()) == (1, "failed: HTTP 500")
    assert api.sent("POST", f"{path}/sub-1/test") == [None]
    api.says("POST", f"{path}/sub-1/remove", SUBSCRIPTION)
    await ctl("notifications", "unsubscribe", "sub-1", "--reason", "left")
    assert api.sent("POST", f"{path}/sub-1/remove") == [{"reason": "left"}]


async def test_retention_is_shortened_only_with_yes(api: Api, ctl: Ctl) -> None:
    kind = {"kind": "logs", "days": 90, "least_days": 7, "most_days": 365, "set": None, "last_swept": None}
    api.says("GET", "/api/v1/retention", {"items": [kind], "next_cursor": None})
    api.says("PUT", "/api/v1/retention", kind | {"days": 30})
    words = ("retention", "set", "logs", "30", "--reason", "works council")
    said = await ctl(*words)
    assert "30 days in place of 90" in said.out
    assert api.sent("PUT", "/api/v1/retention") == []
    await ctl(*words, "--yes")
    assert api.sent("PUT", "/api/v1/retention") == [{"kind": "logs", "days": 30, "reason": "works council"}]


async def test_only_what_is_named_of_an_identity_changes(api: Api, ctl: Ctl) -> None:
    path = "/api/v1/identities/vehicle-1"
    vehicle = {
        "identity_id": "vehicle-1",
        "kind": "vehicle",
        "state": "registered",
        "external_ids": {},
        "pseudonyms": {},
        "erased": False,
        "family": "",
        "site": "",
        "cohort": "buses",
        "charger_id": None,
        "registered_at": "2026-03-01T12:00:00Z",
        "retired_at": None,
    }
    api.says("PATCH", path, vehicle)
    await ctl("identities", "change", "vehicle-1", "--cohort", "buses")
    await ctl("identities", "change", "vehicle-1", "vin=WDB2030461A123456")
    assert api.sent("PATCH", path) == [
        {"cohort": "buses"},
        {"external_ids": {"vin": "WDB2030461A123456"}},
    ]
    with pytest.raises(SettingsError, match="nothing to change"):
        await ctl("identities", "change", "vehicle-1")


FLEET = b"charger_id,serial_number\nbay-1,SN1\n"


def import_answer(*rows: dict[str, Any], **summary: Any) -> bytes:
    counts = {"dry_run": False, "rows": len(rows), "registered": 0, "error": 0} | summary
    return b"".join(orjson.dumps(row) + b"\n" for row in (*rows, {"summary": counts}))


async def test_a_file_is_shown_first_and_registered_with_yes(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    path, keys = tmp_path / "fleet.csv", tmp_path / "keys.csv"
    path.write_bytes(FLEET)
    would = {"line": 2, "charger_id": "bay-1", "outcome": "would-register"}
    api.says("POST", "/api/v1/imports", import_answer(would, dry_run=True, would_register=1))
    said = await ctl("import", str(path))
    assert (said.status, "--yes does it" in said.out) == (0, True)
    assert api.queries[-1] == {"dry_run": "true"}
    done = {"line": 2, "charger_id": "bay-1", "outcome": "registered", "authorization_key": "made-for-it"}
    api.answers["POST", "/api/v1/imports"] = [(200, import_answer(done, registered=1))]
    said = await ctl("import", str(path), "--yes", "--keys-file", str(keys))
    assert api.queries[-1] == {"dry_run": "false"}
    assert api.asked[-1][2] == FLEET
    assert keys.read_text() == "charger_id,authorization_key\nbay-1,made-for-it\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert "made-for-it" not in said.out + said.err
    with pytest.raises(SettingsError, match="cannot be made"):
        await ctl("import", str(path), "--yes", "--keys-file", str(keys))
    assert "made-for-it" in (await ctl("import", str(path), "--yes")).out


async def test_what_is_wrong_is_told_by_line_and_field(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "fleet.jsonl").write_bytes(b"{}\n")
    row = {
        "line": 1,
        "charger_id": "",
        "outcome": "error",
        "errors": [{"field": "site", "message": "missing"}],
    }
    api.says("POST", "/api/v1/imports", import_answer(row, error=1))
    said = await ctl("import", str(tmp_path / "fleet.jsonl"), "--yes")
    assert said.status == 1
    assert "site   missing" in said.out
    with pytest.raises(SettingsError, match="must end with"):
        await ctl("import", str(tmp_path / "token"))


async def test_an_answer_that_ends_early_is_not_taken_for_the_whole(
    api: Api, ctl: Ctl, tmp_path: Path
) -> None:
    (tmp_path / "fleet.csv").write_bytes(FLEET)
    done = {"line": 2, "charger_id": "bay-1", "outcome": "registered", "authorization_key": "made-for-it"}
    api.says("POST", "/api/v1/imports", orjson.dumps(done) + b"\n")
    said = await ctl("import", str(tmp_path / "fleet.csv"), "--yes")
    assert said.status == 1
    assert "made-for-it" in said.out
    assert "the answer ended early" in said.err
