"""What a family can and cannot do: shown, and said anew; it reaches every charger of the family."""

from collections.abc import Iterator
from typing import Any, get_type_hints

from bfactors.capability import Capabilities
from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.family import FAMILIES, THING
from deploy.ctl.policy import shown
from deploy.ctl.policy_change import values_of
from deploy.ctl.report import wrapped

_FORMS: dict[Any, Any] = {
    bool: False,
    int | None: 0,
    str | None: "",
    tuple[str, ...]: [],
    tuple[int, ...]: [0],
}
CAPABILITIES: Body = {name: _FORMS[hint] for name, hint in get_type_hints(Capabilities).items()}
"""Each capability with its form."""
_UNSAID: tuple[Any, ...] = (None, False, [])
_AS_SPECIFIED = "(as specified)"


def said_of(capabilities: Body) -> Body:
    """Those capabilities that differ from a charger that follows the specification."""
    return {name: value for name, value in capabilities.items() if value not in _UNSAID}


def values_of_capabilities(words: list[str], before: Body) -> Body:
    """What is said after these words, in place of `before`. Raises SettingsError."""
    return values_of(words, CAPABILITIES, before)


async def _show(desk: Desk, given: Given) -> int:
    return _told(desk, await desk.client.get(_path(given)))


async def _set(desk: Desk, given: Given) -> int:
    family = await desk.client.get(_path(given))
    before = said_of(family["capabilities"])
    values = values_of_capabilities(given.values, before)
    body = {"capabilities": values, "note": family["note"] if given.note is None else given.note}
    if given.yes:
        return _told(desk, await desk.client.put(_path(given), body))
    desk.paper.document({"dry_run": True, "request": body, "family": family})
    changed = [
        (name, _said(before, name), _said(values, name))
        for name in sorted({*before, *values})
        if before.get(name) != values.get(name)
    ]
    if changed:
        desk.paper.table(("capability", "now", "then"), changed)
    desk.paper.line(
        f"it reaches every charger of {given.family}. Nothing was saved; the same command with --yes saves it"
    )
    return 0


def _said(values: Body, name: str) -> str:
    return shown(values[name]) if name in values else _AS_SPECIFIED


def _path(given: Given) -> str:
    return f"{FAMILIES.path}/{in_path(given.family)}"


def _told(desk: Desk, family: Body) -> int:
    desk.paper.document(family)
    for label, text in _facts(family):
        desk.paper.say(wrapped(f"{label:<14}", text, desk.paper.columns))
    return 0


def _facts(family: Body) -> Iterator[tuple[str, str]]:
    yield "family", family["family"]
    yield "facts", cell.facts(family["capabilities"]) or "none: as the specification says"
    if family["note"]:
        yield "note", family["note"]
    if family["changed_at"]:
        yield "changed", f"{cell.second(family['changed_at'])} by {cell.text(family['changed_by'])}"
    for each in family["factory_anchors"]:
        ends = cell.day(each["not_after"])
        yield "factory CA", f"{cell.fingerprint(each['fingerprint_sha256'])} {each['subject']} until {ends}"
    qualified = family["qualification"]
    if qualified is None:
        yield "qualified", "no"
        return
    outcome = "passed" if qualified["passed"] else "FAILED"
    yield (
        "qualified",
        f"{outcome} on {cell.day(qualified['at'])}, firmware {qualified['firmware']}, with {qualified['charger_id']}",
    )
    for step in qualified["report"]:
        yield "", f"{step['outcome']} {step['step']} {step.get('detail', '')}".strip()


_FAMILY = word("family", help="as the inventory names it")
COMMANDS = (
    Command(
        thing=THING.name,
        action="show",
        help="show one family: what is known of it, and how it was qualified",
        example="families show volt-one-2",
        run=_show,
        arguments=(_FAMILY,),
    ),
    Command(
        thing=THING.name,
        action="set",
        help="say what a family can and cannot do; shows what would change, saves with --yes",
        example="families set volt-one-2 cannot_list=yes max_chain_chars=5600 --yes",
        run=_set,
        arguments=(
            _FAMILY,
            word(
                "values",
                nargs="+",
                metavar="NAME=VALUE",
                help="lists with commas; NAME= takes it back, none all",
            ),
            option("--note", metavar="TEXT", help="for people; the present one stays without it"),
            option("--yes", action="store_true", help="save it"),
        ),
        more="Names that are not given stay as they are: " + ", ".join(CAPABILITIES) + ".",
    ),
)
