"""A fleet's file through the API: looked at first, registered by the ordinary command, and the same again changes nothing."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.event import ChargerRegistered
from gateways.admin import import_file
from gateways.admin.import_file import CSV, JSON_LINES, rows_of
from gateways.admin.problem import Problem
from tests.integration.admin_world import AdminWorld, Reply, token_of

PATH = "/api/v1/imports"
HEAD = "charger_id,serial_number,family,site,cohort,security_profile,ocpp_versions,authorization_key\n"
FILE = (
    HEAD
    + "bay-1,SN1,volt,depot,canary,2,2.0.1 2.1,\n"
    + 'bay-2,SN2,volt,"depot, north",canary,2,1.6,factory-key-000001\n'
    + "bay-3,SN3,volt,depot,canary,3,,\n"
)


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as made:
        yield made


async def send(
    world: AdminWorld, text: str | bytes, media_type: str = CSV, *, do: bool = False, **more: Any
) -> Reply:
    raw = text.encode() if isinstance(text, str) else text
    path = f"{PATH}?dry_run=false" if do else PATH
    return await world.ask("POST", path, raw=raw, headers={"Content-Type": media_type}, **more)


def lines(reply: Reply) -> list[Any]:
    assert reply.status == 200, reply.body
    text = reply.body if isinstance(reply.body, str) else reply.body.decode()
    return [json.loads(line) for line in text.splitlines()]


def outcomes(reply: Reply) -> list[str]:
    return [line["outcome"] for line in lines(reply)[:-1]]


def registered(world: AdminWorld) -> list[str]:
    events = [row for rows in world.store.events.values() for row in rows]
    return sorted(row.charger_id for row in events if row.event == ChargerRegistered.__name__)


async def test_a_file_is_only_looked_at_unless_told_otherwise(world: AdminWorld) -> None:
    reply = await send(world, FILE)
    assert reply.headers["Content-Type"].startswith(JSON_LINES)
    assert outcomes(reply) == ["would-register"] * 3
    summary = lines(reply)[-1]["summary"]
    assert (summary["dry_run"], summary["rows"], summary["would_register"]) == (True, 3, 3)
    assert registered(world) == []


async def test_chargers_are_registered_and_what_was_made_for_them_is_shown_once(world: AdminWorld) -> None:
    reply = await send(world, FILE, do=True)
    *rows, last = lines(reply)
    assert [row["outcome"] for row in rows] == ["registered"] * 3
    assert [row["line"] for row in rows] == [2, 3, 4]
    assert last["summary"]["registered"] == 3
    assert len(rows[0]["authorization_key"]) >= 16
    assert "authorization_key" not in rows[1], "a key that was given is not told back"
    assert "authorization_key" not in rows[2], "profile 3 needs none"
    assert registered(world) == ["bay-1", "bay-2", "bay-3"]
    shown = (await world.ask("GET", "/api/v1/chargers/bay-2")).body
    assert (shown["site"], shown["security_profile"]) == ("depot, north", 2)
    stored = repr(world.store.events) + repr(world.store.chargers)
    assert rows[0]["authorization_key"] not in stored
    assert "factory-key-000001" not in stored


async def test_the_same_file_again_changes_nothing_under_the_same_key_or_another(world: AdminWorld) -> None:
    first = await send(world, FILE, do=True, key="one")
    assert outcomes(first) == ["registered"] * 3
    for key in ("one", "two"):
        again = await send(world, FILE, do=True, key=key)
        assert outcomes(again) == ["unchanged"] * 3
        assert "authorization_key" not in lines(again)[0]
    assert registered(world) == ["bay-1", "bay-2", "bay-3"]


async def test_nothing_is_registered_while_a_row_is_wrong(world: AdminWorld) -> None:
    wrong = FILE + "bay/4,SN4,volt,depot,canary,9,,\n" + "bay-1,SN5,volt,depot,canary,2,,\n" + "bay-6,SN6\n"
    reply = await send(world, wrong, do=True)
    assert outcomes(reply) == ["not-done"] * 3 + ["error"] * 3
    errors = {line["line"]: line["errors"] for line in lines(reply)[3:-1]}
    assert [error["field"] for error in errors[5]] == ["charger_id"]
    assert errors[6] == [{"field": "charger_id", "message": "stands in line 2 too"}]
    assert errors[7] == [{"field": "row", "message": "has 2 cells, the first line 8"}]
    assert registered(world) == []
    summary = lines(reply)[-1]["summary"]
    assert (summary["error"], summary["not_done"], summary["registered"]) == (3, 3, 0)


async def test_a_charger_that_is_known_otherwise_is_an_error_and_stays_as_it_is(world: AdminWorld) -> None:
    await send(world, FILE, do=True)
    moved = FILE.replace("bay-1,SN1,volt,depot,canary", "bay-1,SN9,volt,depot,wave-1")
    reply = await send(world, moved, do=True)
    assert outcomes(reply) == ["error", "unchanged", "unchanged"]
    assert [error["field"] for error in lines(reply)[0]["errors"]] == ["serial_number", "cohort"]
    assert (await world.ask("GET", "/api/v1/chargers/bay-1")).body["serial_number"] == "SN1"


async def test_json_lines_say_the_same(world: AdminWorld) -> None:
    charger = {
        "charger_id": "bay-1",
        "serial_number": "SN1",
        "family": "volt",
        "site": "depot",
        "cohort": "canary",
        "security_profile": 2,
    }
    odd = '{"charger_id": "bay-2", "colour": "red"}\nno json\n[1]\n'
    text = json.dumps(charger) + "\n\n" + odd
    found = lines(await send(world, text, JSON_LINES))
    assert [(line["line"], line["outcome"]) for line in found[:-1]] == [
        (1, "would-register"),
        (3, "error"),
        (4, "error"),
        (5, "error"),
    ]
    assert found[1]["charger_id"] == "bay-2"
    done = await send(world, json.dumps(charger), JSON_LINES, do=True)
    assert outcomes(done) == ["registered"]


async def test_a_semicolon_a_byte_order_mark_and_windows_line_ends_are_read(world: AdminWorld) -> None:
    plain = HEAD + "bay-1,SN1,volt,depot,canary,2,2.0.1 2.1,\n"
    text = "\ufeff" + plain.replace(",", ";").replace("\n", "\r\n")
    assert outcomes(await send(world, text)) == ["would-register"]


async def test_a_token_that_is_limited_to_cohorts_imports_into_these_only(world: AdminWorld) -> None:
    await send(world, FILE, do=True)
    token = world.tokens.live[token_of("operator")]
    world.tokens.live[token_of("operator")] = type(token)(
        name="limited", role="operator", cohorts=("wave-1",)
    )
    text = HEAD + "bay-7,SN7,volt,depot,wave-1,2,,\nbay-8,SN8,volt,depot,canary,2,,\n"
    text += "bay-1,SN1,volt,secret?,wave-1,2,,\n"
    found = lines(await send(world, text, role="operator"))[:-1]
    assert [line["outcome"] for line in found] == ["would-register", "error", "error"]
    assert "depot" not in json.dumps(found[2]), "what a charger of another cohort is like is not told"
    only = HEAD + "bay-7,SN7,volt,depot,wave-1,2,,\n"
    assert outcomes(await send(world, only, role="operator", do=True)) == ["registered"]


async def test_a_row_the_ledger_does_not_take_is_told_and_the_others_are_registered(
    world: AdminWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = world.door.request

    async def request(partition: int, envelope: Any) -> Any:
        answer = await asked(partition, envelope)
        if getattr(envelope.body, "charger_id", "") == "bay-2":
            return type(answer)(retry=True)
        return answer

    monkeypatch.setattr(world.door, "request", request)
    reply = await send(world, FILE, do=True)
    assert outcomes(reply) == ["registered", "error", "registered"]
    monkeypatch.undo()
    again = await send(world, FILE, do=True)
    assert "error" not in outcomes(again)
    assert registered(world) == ["bay-1", "bay-2", "bay-3"]


@pytest.mark.parametrize(
    ("text", "media_type", "status", "code"),
    [
        (FILE, "application/json", 415, "unsupported-media-type"),
        ("", CSV, 422, "malformed-file"),
        (HEAD, CSV, 422, "malformed-file"),
        ("charger_id,colour\nbay-1,red\n", CSV, 422, "malformed-file"),
        ("charger_id,charger_id\nbay-1,red\n", CSV, 422, "malformed-file"),
        (b"\xff\xfe", CSV, 422, "malformed-file"),
        (HEAD + '"bay-1,SN1', CSV, 422, "malformed-file"),
    ],
)
async def test_what_is_no_such_file_is_refused_as_a_whole(
    world: AdminWorld, text: str | bytes, media_type: str, status: int, code: str
) -> None:
    reply = await send(world, text, media_type)
    assert (reply.status, reply.body["code"]) == (status, code)


async def test_a_file_is_bounded_in_bytes_and_rows(
    world: AdminWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = await send(world, b"x" * (import_file.MAX_BYTES + 1))
    assert (reply.status, reply.body["code"]) == (413, "file-too-long")
    monkeypatch.setattr(import_file, "MAX_ROWS", 2)
    reply = await send(world, FILE)
    assert (reply.status, reply.body["code"]) == (413, "file-too-long")


async def test_a_parameter_of_another_name_is_refused_before_the_file_is_read(world: AdminWorld) -> None:
    headers = {"Content-Type": CSV}
    reply = await world.ask("POST", f"{PATH}?dryrun=false", raw=FILE.encode(), headers=headers)
    assert (reply.status, reply.fields) == (422, ["dryrun"])


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: (HEAD + text).encode())),
    st.sampled_from([CSV, JSON_LINES]),
)
def test_whatever_is_sent_is_rows_or_a_problem(content: bytes, media_type: str) -> None:
    try:
        rows = rows_of(content, media_type)
    except Problem:
        return
    for row in rows:
        assert (row.body is None) is bool(row.errors)
