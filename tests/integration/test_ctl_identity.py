"""Identities by the tool: a VIN goes to the API and nowhere else; retiring is repeated until it is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.errors import SettingsError
from tests.integration.ctl_world import LOST, Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]

PATH = "/api/v1/identities"
VIN = "WDB2030461A123456"
VEHICLE: dict[str, Any] = {
    "identity_id": "vehicle-1",
    "kind": "vehicle",
    "state": "registered",
    "external_ids": {"vin": "WDB***********456"},
    "pseudonyms": {"vin": "vin:k1:" + "ab" * 16},
    "erased": False,
    "family": "",
    "site": "",
    "cohort": "buses",
    "charger_id": None,
    "registered_at": "2026-03-01T12:00:00Z",
    "retired_at": None,
}


@pytest.fixture
def api() -> Api:
    made = Api()
    made.says("GET", PATH, {"items": [VEHICLE], "next_cursor": None})
    made.says("GET", f"{PATH}/vehicle-1", VEHICLE)
    made.says("POST", PATH, VEHICLE, 201)
    return made


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
def ctl(url: str, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, Time(), *words)


@pytest.fixture
def vin_file(tmp_path: Path) -> str:
    path = tmp_path / "vin.txt"
    path.write_text(f"{VIN}\n")
    return f"@{path}"


async def test_a_vehicle_is_registered_with_a_vin_from_a_file_that_is_not_printed(
    api: Api, ctl: Ctl, vin_file: str
) -> None:
    said = await ctl("identities", "register", "vehicle", f"vin={vin_file}", "--cohort", "buses")
    assert (said.status, VIN in said.out + said.err) == (0, False)
    assert api.sent("POST", PATH) == [{"kind": "vehicle", "external_ids": {"vin": VIN}, "cohort": "buses"}]
    assert "WDB***********456" in said.out


async def test_an_evse_names_its_charger(api: Api, ctl: Ctl) -> None:
    names = ("evse_id=DE*ABC*E17", "secc_id=SECC-0001")
    numbers = ("--evse", "1", "--evse", "2")
    await ctl("identities", "register", "evse", *names, "--charger-id", "CP-1", *numbers)
    ids = {"evse_id": "DE*ABC*E17", "secc_id": "SECC-0001"}
    assert api.sent("POST", PATH) == [
        {"kind": "evse", "external_ids": ids, "charger_id": "CP-1", "evses": [1, 2]}
    ]


@pytest.mark.parametrize("text", ["vin", "=X", "vin=", "vin=@/nowhere/at/all"])
async def test_what_is_no_external_id_is_not_sent(api: Api, ctl: Ctl, text: str) -> None:
    with pytest.raises(SettingsError):
        await ctl("identities", "register", "vehicle", text)
    assert api.sent("POST", PATH) == []


async def test_a_vehicle_is_found_by_a_vin_from_a_file(api: Api, ctl: Ctl, vin_file: str) -> None:
    said = await ctl("identities", "--vin", vin_file, "--kind", "vehicle", "--limit", "3")
    assert (said.status, VIN in said.out) == (0, False)
    assert api.queries[-1] == {"vin": VIN, "kind": "vehicle", "limit": "3"}
    assert "vehicle-1" in said.out


async def test_an_identity_tells_what_is_not_shown_and_what_is_deleted(api: Api, ctl: Ctl) -> None:
    assert "vin:k1:" in (await ctl("identities", "show", "vehicle-1")).out
    hidden = VEHICLE | {"external_ids": {"vin": None}}
    api.answers["GET", f"{PATH}/vehicle-1"] = [(200, hidden)]
    assert "vin not shown" in (await ctl("identities", "show", "vehicle-1")).out
    api.answers["GET", f"{PATH}/vehicle-1"] = [(200, hidden | {"erased": True})]
    said = await ctl("identities", "show", "vehicle-1")
    assert "vin erased" in said.out
    assert "is deleted" in said.out


async def test_an_identity_is_retired_and_asked_for_again_if_the_answer_is_lost(api: Api, ctl: Ctl) -> None:
    path = f"{PATH}/vehicle-1"
    api.says("DELETE", path, LOST)
    api.says("DELETE", path, VEHICLE | {"state": "retired", "retired_at": "2026-03-02T12:00:00Z"})
    said = await ctl("identities", "retire", "vehicle-1")
    assert (said.status, len(api.sent("DELETE", path))) == (0, 2)
    assert "vehicle, retired" in said.out


async def test_what_is_personal_is_deleted_with_a_reason(api: Api, ctl: Ctl) -> None:
    path = f"{PATH}/vehicle-1/erase-personal-data"
    api.says("POST", path, VEHICLE | {"erased": True, "external_ids": {"vin": None}})
    said = await ctl("identities", "erase", "vehicle-1", "--reason", "asked for")
    assert (said.status, api.sent("POST", path)) == (0, [{"reason": "asked for"}])
    assert "vin erased" in said.out
