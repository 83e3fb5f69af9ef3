"""A scope's policy changed: shown with whom it reaches, saved only with `--yes`."""

import uuid
from typing import Any

from bfactors.errors import SettingsError
from deploy.ctl.approval import told_if_held
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, option, word
from deploy.ctl.follow import REASON
from deploy.ctl.policy import BUILT_IN, PATH, THING, shown

_NOT_SET = "(inherited)"
_NOTHING = "none"


def values_of(words: list[str], built_in: Body, before: Body) -> Body:
    """What the scope would say: `field=value` sets, `field=` takes back, `none` alone takes back everything.

    The built-in value shows each field's form. Raises SettingsError.
    """
    if words == [_NOTHING]:
        return {}
    values = dict(before)
    for each in words:
        name, is_pair, text = each.partition("=")
        if not is_pair or name not in built_in:
            known = f"; there are: {', '.join(sorted(built_in))}" if is_pair else ""
            raise SettingsError(f"{each} is no FIELD=VALUE{known}")
        if text:
            values[name] = _read(name, text, built_in[name])
        else:
            values.pop(name, None)
    return values


def _read(name: str, text: str, like: Any) -> Any:
    if isinstance(like, list):
        numbers = bool(like) and isinstance(like[0], int)
        return [_number(name, part) if numbers else part for part in text.split(",") if part != _NOTHING]
    if isinstance(like, bool):
        if text not in ("yes", "no", "true", "false"):
            raise SettingsError(f"{name} must be yes or no, not {text}")
        return text in ("yes", "true")
    return _number(name, text) if isinstance(like, int) else text


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise SettingsError(f"{name} must be a whole number, not {text}")
    return int(text)


async def _set(desk: Desk, given: Given) -> int:
    rows = {row["scope"]: row for row in await desk.client.every(PATH, {})}
    before: Body = rows.get(given.scope, {"values": {}})["values"]
    values = values_of(given.values, rows[BUILT_IN]["values"], {} if given.replace else before)
    body = {"scope": given.scope, "values": values}
    preview = await desk.client.post(f"{PATH}/preview", body, f"ctl-{uuid.uuid4().hex}")
    _show(desk, given.scope, before, values, preview)
    if values == before:
        desk.paper.document({"saved": False, "version": preview["version"], "preview": preview})
        desk.paper.line("nothing to save: the scope says so already")
        return 0
    if not given.yes:
        desk.paper.document({"saved": False, "version": preview["version"], "preview": preview})
        desk.paper.line("nothing was saved. The same command with --yes saves it")
        return 0
    if preview["version"] != rows[BUILT_IN]["version"]:
        desk.paper.complain("somebody else changed a policy just now: look again. Nothing was saved")
        return 1
    answer = await desk.client.put(
        f"{PATH}/{in_path(given.scope)}", {"values": values, "reason": given.reason}
    )
    held = told_if_held(desk, answer)
    if held is not None:
        return held
    desk.paper.document({"saved": True, "version": answer["version"], "preview": preview})
    desk.paper.line(f"saved as version {answer['version']}")
    return 0


def _show(desk: Desk, scope: str, before: Body, values: Body, preview: Body) -> None:
    """Field by field, then group by group."""
    desk.paper.line(f"{scope}, policy version {preview['version']}")
    changed = [
        (name, _said(before, name), _said(values, name))
        for name in sorted({*before, *values})
        if before.get(name) != values.get(name)
    ]
    if changed:
        desk.paper.table(("field", "now", "then"), changed)
    desk.paper.line(
        f"reaches {preview['chargers']} chargers, not {preview['chargers_unaffected']}; "
        f"renewals due at once: {preview['renewals_due_at_once']} at most"
    )
    groups = [
        (
            group["family"],
            group["cohort"],
            str(group["chargers"]),
            str(group["renewals_due_at_once"]),
            ", ".join(
                f"{name} {shown(change['before'])} to {shown(change['after'])}"
                for name, change in group["changes"].items()
            ),
        )
        for group in preview["groups"]
    ]
    if groups:
        desk.paper.table(("family", "cohort", "chargers", "due", "what changes"), groups, frozenset({2, 3}))
    if preview["groups_left_out"]:
        desk.paper.line(f"and {preview['groups_left_out']} groups more")


def _said(values: Body, name: str) -> str:
    return shown(values[name]) if name in values else _NOT_SET


COMMANDS = (
    Command(
        thing=THING.name,
        action="set",
        help="change what a scope says; shows what would change for whom, saves with --yes",
        example="policies set purpose:charging_station validity_days=90 --reason x",
        run=_set,
        arguments=(
            word("scope", help="purpose:P, family:F/P or cohort:C/P"),
            word(
                "values",
                nargs="+",
                metavar="FIELD=VALUE",
                help="lists with commas; FIELD= takes it back, none all",
            ),
            option("--replace", action="store_true", help="take back every field that is not given"),
            option("--yes", action="store_true", help="save it"),
            REASON,
        ),
        more="Fields that are not named stay as the scope has them.",
    ),
)
