"""The tool is whole: every route that changes something has a command, or a reason why it has none.

Each command is run as its own help shows it, against an API that answers whatever it is asked with an example made from its
OpenAPI description. What was asked is what counts; what the tool makes of such answers is tested elsewhere.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from bfactors.errors import BetterFleetError
from deploy.ctl.command import Command
from deploy.ctl.tool import COMMANDS
from gateways.admin.app import described_routes
from gateways.admin.openapi import document
from gateways.admin.route import Route
from tests.core import pki
from tests.integration.admin_world import AdminWorld
from tests.integration.ctl_world import Api, Time, run, serving

pytestmark = pytest.mark.timeout(300)
ROUTES = described_routes(AdminWorld().dependencies)
DOCUMENT = document(ROUTES, "0.1.0")
CHANGING = {route.operation for route in ROUTES if route.method != "GET"}
WITHOUT = {
    "firmware_trust.record": "firmware trust shares no tool with operations, as it shares no role and no token",
    "firmware_trust.withdraw": "as above",
    "firmware_trust.install": "as above",
    "firmware_trust.list": "as above",
    "firmware_trust.compare": "as above",
    "firmware_trust.delete": "as above",
    "firmware_trust.update": "as above",
    "firmware_trust.cancel": "as above",
}
"""Operations without a command, and why; docs/firmware-trust.md has their calls."""
HASH = "ab" * 32
FURTHER = {
    ("approvals", "approve"): f"--content-hash {HASH}",
    ("approvals", "reject"): f"--content-hash {HASH}",
    ("approvals", "withdraw"): f"--content-hash {HASH}",
    ("families", "qualify"): "--family word --step-within 1",  # the API's charger is of no other
}
"""What is given besides the example, for the command to come to its request."""
ANSWERS: dict[str, Any] = {
    "policies.list": {
        "items": [{"scope": "built-in", "values": {"validity_days": 180}, "version": 1}],
        "next_cursor": None,
    },
}
"""What no example can say."""
WORDS = {"FINGERPRINT": HASH, "T": "2027-01-31T00:00:00Z"}
"""What stands for itself in an example."""
READ_ONLY = {"audit", "events"}
"""Things whose commands follow a stream, and have nothing else to ask."""


def example(schema: dict[str, Any]) -> Any:
    """A value of this schema: the first choice of every choice, one item in every list."""
    match schema:
        case {"$ref": name}:
            return example(DOCUMENT["components"]["schemas"][name.rpartition("/")[2]])
        case {"enum": choices} if "succeeded" in choices:
            return "succeeded"  # nobody waits for it
        case {"enum": [first, *_]} | {"const": first}:
            return first
        case {"anyOf": kinds} | {"oneOf": kinds}:
            return example(next((kind for kind in kinds if kind.get("type") != "null"), kinds[0]))
        case {"type": "object"}:
            made = {name: example(part) for name, part in schema.get("properties", {}).items()}
            return made | ({"next_cursor": None} if "next_cursor" in made else {})
        case {"type": "array"}:
            items = schema.get("items")
            return [example(items)] if isinstance(items, dict) else []
        case {"type": "string", "format": "date-time"}:
            return "2026-03-01T12:00:00Z"
        case {"type": "string"}:
            return "word"
        case {"type": "integer" | "number"}:
            return schema.get("minimum", 1)
        case {"type": "boolean"}:
            return False
        case _:
            return None


async def unfit(request: web.Request, route: Route) -> list[str]:
    """What the real API would say of the form of a request."""
    content = await request.read()
    if request.query and route.query is None:
        return [f"{route.operation}: takes no parameters"]
    try:
        if route.query is not None:
            msgspec.convert(dict(request.query), type=route.query, strict=False)
        if route.body is not None:
            msgspec.json.decode(content, type=route.body)
        takes_none = route.body is None and not route.accepts
        return [f"{route.operation}: takes no body"] if takes_none and content else []
    except msgspec.ValidationError as problem:
        return [f"{route.operation}: {problem}"]


class Agreeable(Api):
    """Says yes to everything, and keeps which operation was asked for and what was wrong with the request."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self.unfit: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        for route in ROUTES:
            path = re.sub(r"\{[a-z_]+(?::[^}]*)?\}", "[^/]+", route.path)
            if route.method == request.method and re.fullmatch(path, request.raw_path.partition("?")[0]):
                self.operations.add(route.operation)
                self.unfit += await unfit(request, route)
                described = DOCUMENT["paths"][re.sub(r"\{([a-z_]+)(?::[^}]*)?\}", r"{\1}", route.path)]
                if route.operation in ANSWERS:
                    return web.json_response(ANSWERS[route.operation])
                content = described[route.method.lower()]["responses"][str(route.status)]["content"]
                return web.json_response(example(next(iter(content.values()))["schema"]), status=route.status)
        return web.json_response({"code": "unknown-resource"}, status=404)


@pytest.fixture
async def agreeable() -> AsyncIterator[tuple[Agreeable, str]]:
    api = Agreeable()
    async with serving(api) as url:
        yield api, url


def words_of(command: Command) -> list[str]:
    """The command as its help shows it, and done at once where it would only be shown."""
    words = shlex.split(f"{command.example} {FURTHER.get((command.thing, command.action), '')}")
    for name, meaning in WORDS.items():
        words = [re.sub(rf"\b{name}$", meaning, word) for word in words]
    can_be_only_shown = any("--yes" in each.names for each in command.arguments)
    return [*words, "--yes"] if can_be_only_shown and "--yes" not in words else words


async def test_every_route_that_changes_something_has_a_command(
    agreeable: tuple[Agreeable, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, url = agreeable
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("the-token\n")
    (tmp_path / "vin.txt").write_text("WDB2030461A123456\n")
    (tmp_path / "chargers.csv").write_text("charger_id\n")
    for name in {word for command in COMMANDS for word in words_of(command) if word.endswith(".pem")}:
        (tmp_path / name).write_text(pki.ca("Server").root_pem)
    for command in COMMANDS:
        if command.thing in READ_ONLY:
            continue
        try:
            await run(url, tmp_path / "token", Time(), *words_of(command))
        except (BetterFleetError, LookupError, TypeError, ValueError):
            continue  # an example is not always an answer; its request was sent or it was not
    assert CHANGING - api.operations == set(WITHOUT)
    assert api.unfit == []
