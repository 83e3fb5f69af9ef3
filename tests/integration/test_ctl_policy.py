"""What reaches many by one word - policies, pauses, waivers - is shown first, and done only with a yes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bfactors.errors import SettingsError
from deploy.ctl.policy_change import values_of
from tests.integration.ctl_world import Api, Said, Time, run, serving

Ctl = Callable[..., Awaitable[Said]]
SCOPE = "cohort:pilot/charging_station"
PUT = f"/api/v1/policies/{SCOPE}"
BUILT_IN = {
    "reconnect_wait_s": 900,
    "blackout_hours": [],
    "escalate_before_days": [14, 7],
    "confirm_rung": "listed",
    "not_while_charging": False,
    "validity_days": 180,
}
PREVIEW = {
    "scope": SCOPE,
    "version": 4,
    "chargers": 2,
    "chargers_unaffected": 1,
    "renewals_due_at_once": 1,
    "groups": [
        {
            "family": "acme",
            "cohort": "pilot",
            "chargers": 2,
            "renewals_due_at_once": 1,
            "changes": {"reconnect_wait_s": {"before": 900, "after": 600}},
        }
    ],
    "groups_left_out": 0,
}
HELD = {
    "approval_id": "approval-1",
    "content_hash": "ab" * 32,
    "expires_at": "2026-03-04T12:00:00Z",
    "state": "open",
}


@pytest.fixture
def api() -> Api:
    made = Api()
    rows = [
        {"scope": "built-in", "values": BUILT_IN, "version": 4},
        {"scope": SCOPE, "values": {"confirm_rung": "used"}, "version": 4},
    ]
    made.says("GET", "/api/v1/policies", {"items": rows, "next_cursor": None})
    made.says("POST", "/api/v1/policies/preview", PREVIEW)
    made.says("PUT", PUT, {"scope": SCOPE, "version": 5})
    return made


@pytest.fixture
def passing() -> Time:
    return Time()


@pytest.fixture
async def url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as address:
        yield address


@pytest.fixture
def ctl(url: str, passing: Time, tmp_path: Path) -> Ctl:
    token = tmp_path / "token"
    token.write_text("the-token\n")
    return lambda *words: run(url, token, passing, *words)


SET = ("policies", "set", SCOPE, "reconnect_wait_s=600", "--reason", "modems")


async def test_a_policy_is_shown_with_whom_it_reaches_and_not_saved(api: Api, ctl: Ctl) -> None:
    said = await ctl(*SET)
    assert (said.status, api.sent("PUT", PUT)) == (0, [])
    assert api.sent("POST", "/api/v1/policies/preview") == [
        {"scope": SCOPE, "values": {"confirm_rung": "used", "reconnect_wait_s": 600}}
    ]
    for part in ("(inherited)", "reaches 2 chargers, not 1", "reconnect_wait_s 900 to 600", "--yes"):
        assert part in said.out
    assert (await ctl(*SET, "--json")).body["saved"] is False


async def test_with_a_yes_it_is_saved_with_what_the_scope_said_before(api: Api, ctl: Ctl) -> None:
    said = await ctl(*SET, "--yes")
    assert (said.status, "saved as version 5" in said.out) == (0, True)
    assert api.sent("PUT", PUT) == [
        {"values": {"confirm_rung": "used", "reconnect_wait_s": 600}, "reason": "modems"}
    ]
    await ctl(*SET, "--yes", "--replace")
    assert api.sent("PUT", PUT)[1]["values"] == {"reconnect_wait_s": 600}


async def test_a_policy_that_somebody_changed_meanwhile_is_not_overwritten(api: Api, ctl: Ctl) -> None:
    api.answers["POST", "/api/v1/policies/preview"] = [(200, PREVIEW | {"version": 5})]
    said = await ctl(*SET, "--yes")
    assert (said.status, api.sent("PUT", PUT)) == (1, [])
    assert "somebody else" in said.err


async def test_a_change_that_says_nothing_new_is_not_sent(api: Api, ctl: Ctl) -> None:
    said = await ctl("policies", "set", SCOPE, "confirm_rung=used", "--reason", "x", "--yes")
    assert (said.status, api.sent("PUT", PUT)) == (0, [])
    assert "nothing to save" in said.out


async def test_what_needs_a_second_person_is_not_done_and_its_status_is_3(api: Api, ctl: Ctl) -> None:
    api.answers["PUT", PUT] = [(202, HELD)]
    said = await ctl(*SET, "--yes")
    assert said.status == 3
    assert "approvals approve approval-1" in said.out
    assert HELD["content_hash"] in said.out
    assert "saved" not in said.out


def test_values_are_read_as_the_built_in_policy_has_them() -> None:
    words = [
        "reconnect_wait_s=600",
        "blackout_hours=05:00-08:30,22:00-23:00",
        "escalate_before_days=30,14",
        "not_while_charging=yes",
        "confirm_rung=",
    ]
    assert values_of(words, BUILT_IN, {"confirm_rung": "used", "validity_days": 90}) == {
        "reconnect_wait_s": 600,
        "blackout_hours": ["05:00-08:30", "22:00-23:00"],
        "escalate_before_days": [30, 14],
        "not_while_charging": True,
        "validity_days": 90,
    }
    assert values_of(["none"], BUILT_IN, {"confirm_rung": "used"}) == {}
    assert values_of(["blackout_hours=none"], BUILT_IN, {}) == {"blackout_hours": []}


@pytest.mark.parametrize(
    "text",
    [
        "reconnect_wait_s",
        "=5",
        "nope=5",
        "reconnect_wait_s=5.5",
        "reconnect_wait_s=-1",
        "validity_days=٣",
        "x",
        "escalate_before_days=a",
        "not_while_charging=perhaps",
        "reconnect_wait_s=" + "9" * 30,
    ],
)
def test_what_is_no_value_of_a_field_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        values_of([text], BUILT_IN, {})


async def test_a_pause_is_shown_first_and_done_with_a_yes(api: Api, ctl: Ctl) -> None:
    row: dict[str, Any] = {
        "kind": "family",
        "name": "acme one",
        "state": "running",
        "wanted": "running",
        "children": 40,
        "restarts": 0,
        "reason": None,
        "pause": None,
    }
    path = "/api/v1/supervisors/family/acme one/pause"
    api.says("GET", "/api/v1/supervisors", {"items": [row], "next_cursor": None})
    api.says("POST", path, {"kind": "family", "name": "acme one", "state": "paused", "reason": "x"})
    words = ("supervisors", "pause", "family", "acme one", "--reason", "x")
    shown = await ctl(*words)
    assert (shown.status, api.sent("POST", path)) == (0, [])
    assert "40" in shown.out
    done = await ctl(*words, "--yes")
    assert (done.status, api.sent("POST", path)) == (0, [{"reason": "x"}])


async def test_a_waiver_for_a_cohort_needs_a_yes_and_one_for_a_charger_does_not(api: Api, ctl: Ctl) -> None:
    api.says("POST", "/api/v1/waivers", HELD, 202)
    words = ("key_rotation_days=0", "--ends-at", "2026-04-01T00:00:00Z", "--reason", "x")
    assert (await ctl("waivers", "request", "cohort:pilot", *words)).status == 0
    assert api.sent("POST", "/api/v1/waivers") == []
    assert (await ctl("waivers", "request", "cohort:pilot", *words, "--yes")).status == 3
    assert (await ctl("waivers", "request", "charger:CP-1", *words)).status == 3
    assert [sent["subject"] for sent in api.sent("POST", "/api/v1/waivers")] == [
        "cohort:pilot",
        "charger:CP-1",
    ]
    assert api.sent("POST", "/api/v1/waivers")[0]["value"] == 0
    await ctl("waivers", "request", "charger:CP-1", "unqualified-family", *words[1:])
    assert "value" not in api.sent("POST", "/api/v1/waivers")[2]


async def test_moments_of_lock_out_are_counted_by_week(api: Api, ctl: Ctl) -> None:
    weeks = [
        {"week": None, "cause": "leaf-expired", "count": 1},
        {"week": "2026-03-02T00:00:00Z", "cause": "leaf-expired", "count": 7},
    ]
    counts = {"total": 20, "never": 12, "by_cause": {}, "weeks": weeks, "trust_known": False}
    api.says("GET", "/api/v1/lockout-forecast/counts", counts)
    said = await ctl("lockouts", "counts")
    for part in ("nothing known will lock 12", "it has come", "2026-03-02", "no node says"):
        assert part in said.out


async def test_a_key_that_is_shown_once_is_in_the_document_also_after_waiting(api: Api, ctl: Ctl) -> None:
    api.job("/api/v1/chargers/CP-1/replace", state="open", overdue=False, action="replace", charger_id="CP-1")
    first = api.answers["POST", "/api/v1/chargers/CP-1/replace"][0][1]
    api.answers["POST", "/api/v1/chargers/CP-1/replace"] = [(202, first | {"authorization_key": "the-key"})]
    api.answers["GET", "/api/v1/jobs/j1"] = [(200, first | {"state": "succeeded"})]
    said = await ctl(
        *("chargers", "replace", "CP-1", "--serial-number", "SN2", "--reason", "x", "--wait", "--json")
    )
    assert (said.status, said.body["authorization_key"], said.body["state"]) == (0, "the-key", "succeeded")
