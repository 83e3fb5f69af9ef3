"""Issuing CAs and the way from one to the next: looked at freely, changed only with a yes, no step taken twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.errors import SettingsError
from tests.integration.ctl_world import Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]
PATH = "/api/v1/authorities"
ROLLOVER = f"{PATH}/charging_station/rollover"
OLD, NEW = "0a1b2c3d4e5f6071", "f0e1d2c3b4a59687"
AUTHORITY: dict[str, Any] = {
    "authority_id": OLD,
    "purpose": "charging_station",
    "realm": "charger-identity",
    "authority_arn": "arn:aws:acm-pca:eu-central-1:1:certificate-authority/one",
    "state": "current",
    "status": "ACTIVE",
    "fingerprint_sha256": "f" * 64,
    "not_after": "2027-03-01T12:00:00Z",
    "certificates": 412,
    "orders": 3,
}
ANCHORS = {
    "purpose": "charging_station",
    "bundle_id": "b-1",
    "version": 2,
    "has_root": False,
    "confirmed": 10,
    "total": 12,
}
STANDING: dict[str, Any] = {
    "rollover_id": "rollover-1",
    "purpose": "charging_station",
    "leaving_id": OLD,
    "to_id": NEW,
    "step": "anchors",
    "since": "2026-03-01T12:00:00Z",
    "started_at": "2026-02-01T12:00:00Z",
    "by": "operator:anna",
    "reason": "CA 1 ends",
    "renew_after": None,
    "stalled": True,
    "waiting_for": [{"code": "not-heard-everywhere", "message": "partition 3"}],
    "certificates": 412,
    "orders": 3,
    "anchors": [ANCHORS],
}
FORECAST: dict[str, Any] = {
    "purpose": "charging_station",
    "leaving_id": OLD,
    "to_id": NEW,
    "blind_gateways": ["node-b"],
    "anchors": [ANCHORS],
    "renewals": 412,
    "minutes": 7,
}


@pytest.fixture
def api() -> Api:
    made = Api()
    made.says("GET", PATH, {"items": [AUTHORITY], "next_cursor": None})
    made.says("GET", ROLLOVER, STANDING)
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


async def test_authorities_are_listed_and_one_is_shown_with_its_arn(ctl: Ctl) -> None:
    listed = await ctl("authorities")
    assert OLD in listed.out
    assert "412" in listed.out
    shown = await ctl("authorities", "show", OLD)
    for part in (AUTHORITY["authority_arn"], "412 certificates, 3 orders", "it says ACTIVE"):
        assert part in " ".join(shown.out.split())
    unknown = await ctl("authorities", "show", NEW)
    assert (unknown.status, NEW in unknown.err, unknown.out) == (2, True, "")


async def test_what_hangs_on_a_ca_is_named(api: Api, ctl: Ctl) -> None:
    holder = {
        "certificate_id": "c1",
        "charger_id": "depot-7-bay-2",
        "family": "acme",
        "cohort": "pilot",
        "connected": False,
        "state": "active",
        "not_after": "2026-06-01T12:00:00Z",
    }
    api.says("GET", f"{PATH}/{OLD}/holders", {"items": [holder], "next_cursor": None})
    said = await ctl("authorities", "holders", OLD)
    assert said.status == 0
    assert "depot-7-bay-2  c1           active, away  2026-06-01" in said.out


async def test_a_ca_is_made_known_only_with_a_yes(api: Api, ctl: Ctl, tmp_path: Path) -> None:
    api.says("POST", PATH, AUTHORITY | {"state": "incoming"}, 201)
    root = tmp_path / "root.pem"
    root.write_text("the root")
    words = ("authorities", "register", "charging_station", "arn:aws:x", "--root", str(root))
    shown = await ctl(*words)
    assert (shown.status, api.sent("POST", PATH)) == (0, [])
    assert "every gateway would trust" in shown.out
    done = await ctl(*words, "--yes")
    sent = {"purpose": "charging_station", "authority_arn": "arn:aws:x", "root_pem": "the root"}
    assert (done.status, api.sent("POST", PATH)) == (0, [sent])
    with pytest.raises(SettingsError, match="cannot be read"):
        await ctl(*words[:-1], str(tmp_path / "nothing"))


async def test_a_rollover_is_a_dry_run_until_it_is_said_yes_to(api: Api, ctl: Ctl) -> None:
    api.says("POST", ROLLOVER, FORECAST)
    way = ("charging_station", NEW, "--renew-after", "T")
    for words in (("forecast", *way), ("start", *way, "--reason", "old")):
        said = await ctl("rollover", *words)
        assert said.status == 0
        for part in ("yet: node-b", "WITHOUT the new CA's root", "412 at most, in 7 minutes"):
            assert part in " ".join(said.out.split()), part
    assert [sent["dry_run"] for sent in api.sent("POST", ROLLOVER)] == [True, True]
    assert (await ctl("rollover", "forecast", *way, "--json")).body == FORECAST
    api.answers["POST", ROLLOVER] = [(200, FORECAST | {"blind_gateways": []})]
    assert "all trust the new CA" in (await ctl("rollover", "forecast", *way)).out
    api.answers["POST", ROLLOVER] = [(202, STANDING)]
    begun = await ctl("rollover", "start", *way, "--reason", "old", "--leaving", OLD, "--yes")
    assert "STALLED" in begun.out
    assert api.sent("POST", ROLLOVER)[-1] == {
        "authority_id": NEW,
        "leaving_id": OLD,
        "renew_after": "T",
        "reason": "old",
        "dry_run": False,
    }


HELD = {
    "approval_id": "approval-1",
    "content_hash": "ab" * 32,
    "expires_at": "2026-03-04T12:00:00Z",
    "state": "open",
}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (ROLLOVER, ("start", "charging_station", NEW)),
        (f"{ROLLOVER}/advance", ("advance", "charging_station", "--step", "renewal")),
    ],
)
async def test_a_step_that_needs_a_second_person_has_the_status_3(
    api: Api, ctl: Ctl, path: str, words: tuple[str, ...]
) -> None:
    api.answers["POST", path] = [(202, HELD)]
    said = await ctl("rollover", *words, "--reason", "old", "--yes")
    assert said.status == 3
    assert "approvals approve approval-1" in said.out


async def test_an_approval_of_a_step_shows_the_cas_and_what_stands_in_its_way(api: Api, ctl: Ctl) -> None:
    side = {
        "authority_id": OLD,
        "authority_arn": "arn:old",
        "fingerprint_sha256": "a0",
        "root_sha256": None,
        "not_after": "2027-01-01T00:00:00Z",
    }
    approval = HELD | {
        "kind": "rollover",
        "charger_id": None,
        "subject": "charging_station",
        "author": "operator:anna",
        "requested_at": "2026-03-01T12:00:00Z",
        "reason": "old",
        "content": {"purpose": "charging_station"},
        "decided_by": None,
        "rollover": {
            "leaving": side,
            "to": side | {"authority_arn": "arn:new", "fingerprint_sha256": "b1", "root_sha256": "c2"},
            "waiting_for": [{"code": "authority-in-use", "message": "1 hangs on it"}],
        },
    }
    api.says("GET", "/api/v1/approvals/approval-1", approval)
    told = " ".join((await ctl("approvals", "show", "approval-1")).out.split())
    for part in (
        "leaves arn:old until 2027-01-01 certificate a0",
        "for arn:new until 2027-01-01 certificate b1, root c2",
        "waits for authority-in-use: 1 hangs on it",
    ):
        assert part in told, part


async def test_a_rollover_says_what_its_next_step_waits_for(api: Api, ctl: Ctl) -> None:
    told = " ".join((await ctl("rollover", "show", "charging_station")).out.split())
    for part in (
        "anchors since",
        "STALLED",
        "not-heard-everywhere: partition 3",
        "by 10 of 12",
        "everything",
    ):
        assert part in told, part
    api.answers["GET", ROLLOVER] = [(200, STANDING | {"waiting_for": [], "stalled": False})]
    assert "the next step can begin" in (await ctl("rollover", "show", "charging_station")).out


async def test_no_step_is_taken_without_a_yes_nor_without_naming_where_it_stands(api: Api, ctl: Ctl) -> None:
    path = f"{ROLLOVER}/advance"
    api.says("POST", path, {"purpose": "charging_station", "rollover": STANDING | {"step": "overlap"}})
    words = ("rollover", "advance", "charging_station", "--reason", "x")
    shown = await ctl(*words)
    assert "with --step anchors --yes" in " ".join(shown.out.split())
    with pytest.raises(SettingsError, match="--step"):
        await ctl(*words, "--yes")
    assert api.sent("POST", path) == []
    done = await ctl(*words, "--yes", "--step", "anchors")
    assert (done.status, api.sent("POST", path)) == (0, [{"step": "anchors", "reason": "x"}])
    assert "overlap" in done.out
    api.answers["POST", path] = [(202, {"purpose": "charging_station", "rollover": None})]
    ended = await ctl(*words, "--yes", "--step", "renewal")
    assert "retired" in ended.out


async def test_a_rollover_is_given_up_only_with_a_yes(api: Api, ctl: Ctl) -> None:
    path = f"{ROLLOVER}/abort"
    api.says("POST", path, {"purpose": "charging_station", "ended": True}, 202)
    words = ("rollover", "abort", "charging_station", "--reason", "x")
    shown = await ctl(*words)
    assert (shown.status, api.sent("POST", path)) == (0, [])
    assert "does it: abort" in shown.out
    done = await ctl(*words, "--yes")
    assert (done.status, api.sent("POST", path)) == (0, [{"reason": "x"}])
