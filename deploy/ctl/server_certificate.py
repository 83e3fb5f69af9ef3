"""The central system's own certificates, and who would be stranded by another issuer."""

from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, word
from deploy.ctl.follow import KEY, key_of
from deploy.ctl.listing import Listing, listing_command

THING = Thing(
    "server-certificates", "list the system's own certificates; forecast a change", ("server-certificate",)
)

SERVER_CERTIFICATES = Listing(
    "/api/v1/server-certificates",
    ("node", "state", "key", "ends", "issuer", "why"),
    lambda body: (
        body["node"],
        body["state"],
        body["key_algorithm"],
        cell.day(body["not_after"]),
        body["issuer"],
        cell.text((body["reason"] or {}).get("code")),
    ),
)


async def _forecast(desk: Desk, given: Given) -> int:
    try:
        chain = given.chain.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the chain {given.chain} cannot be read: {problem}") from problem
    path = f"{SERVER_CERTIFICATES.path}/forecast"
    answer = await desk.client.post(path, {"chain_pem": chain}, key_of(given))
    desk.paper.document(answer)
    verdict = "would be presented" if answer["allowed"] else "would be KEPT BACK"
    desk.paper.line(f"{verdict}; {answer['stranded']} of {answer['total']} chargers would be stranded")
    if answer["reason"]:
        desk.paper.line(cell.reason(answer["reason"]))
    desk.paper.line(f"verified by: {cell.text(answer['bundles'])}")
    if answer["groups"]:
        desk.paper.table(
            ("family", "cohort", "stranded", "of", "some of them"), [_group(g) for g in answer["groups"]]
        )
    return 0 if answer["allowed"] else 1


def _group(group: Body) -> tuple[str, ...]:
    return (
        group["family"],
        group["cohort"],
        str(group["stranded"]),
        str(group["total"]),
        cell.text(group["examples"]),
    )


COMMANDS = (
    listing_command(
        THING.name,
        SERVER_CERTIFICATES,
        says="list what chargers are shown on each node, and what is kept back",
        example="server-certificates list",
    ),
    Command(
        thing=THING.name,
        action="forecast",
        help="who could not connect any more if chargers were shown this chain; changes nothing",
        example="server-certificates forecast new.chain.pem",
        run=_forecast,
        arguments=(word("chain", type=Path, help="PEM: the new leaf's chain, or the new CA"), KEY),
        more="Exit status 1 if it would be kept back.",
    ),
)
