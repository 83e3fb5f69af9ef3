"""Policies: what each scope says, and what that comes to for one charger."""

from typing import Any

from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.listing import limit_of, limit_option
from deploy.ctl.qualification import PURPOSE

THING = Thing("policies", "list policies, what holds for a charger; set one", ("policy",))
PATH = "/api/v1/policies"
BUILT_IN = "built-in"


def shown(value: Any) -> str:
    """A field's value as `policies set` takes it."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(str(each) for each in value) if isinstance(value, list) else str(value)


async def _list(desk: Desk, given: Given) -> int:
    rows = await desk.client.items(PATH, {}, limit_of(given))
    desk.paper.document({"items": rows})
    lines = [
        (row["scope"], name, shown(value))
        for row in rows
        if row["scope"] != BUILT_IN or given.built_in
        for name, value in row["values"].items()
    ]
    if rows:
        desk.paper.line(f"version {rows[0]['version']}")
    if lines:
        desk.paper.table(("scope", "field", "value"), lines)
    else:
        desk.paper.line("no scope says anything else than the built-in policy (--built-in)")
    return 0


async def _effective(desk: Desk, given: Given) -> int:
    query = {"charger_id": given.charger, "purpose": given.purpose}
    answer: Body = await desk.client.get(f"{PATH}/effective", query)
    desk.paper.document(answer)
    desk.paper.line(
        f"{answer['charger_id']}: family {answer['family']}, cohort {answer['cohort']}, "
        f"{answer['purpose']}, policy version {answer['version']}"
    )
    rows = [
        (name, shown(field["value"]), field["origin"])
        for name, field in answer["policy"].items()
        if field["origin"] != BUILT_IN or not given.set
    ]
    if rows:
        desk.paper.table(("field", "value", "from"), rows)
    else:
        desk.paper.line(f"everything is {cell.text(BUILT_IN)}")
    return 0


COMMANDS = (
    Command(
        thing=THING.name,
        action="list",
        help="list what each scope says beyond the built-in policy",
        example="policies list --built-in",
        run=_list,
        arguments=(
            option("--built-in", action="store_true", help="the built-in policy too"),
            limit_option(),
        ),
    ),
    Command(
        thing=THING.name,
        action="effective",
        help="what holds for one charger, and which scope says so",
        example="policies effective depot-7-bay-2 --set",
        run=_effective,
        arguments=(
            word("charger", help="its id"),
            option("--purpose", absent=PURPOSE, metavar="NAME", help=f"default: {PURPOSE}"),
            option("--set", action="store_true", help="only what is not built in"),
        ),
    ),
)
