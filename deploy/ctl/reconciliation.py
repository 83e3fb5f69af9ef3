"""Reconciliations: what each CA says it signed, held against the ledger."""

from deploy.ctl import cell
from deploy.ctl.client import Body, in_path
from deploy.ctl.command import Command, Desk, Given, Thing, word
from deploy.ctl.follow import KEY, REASON, key_of
from deploy.ctl.listing import Listing, limit_of, limit_option, listing_command

THING = Thing("reconciliations", "how each CA's list compares with the ledger", ("reconciliation",))


def _row(body: Body) -> tuple[str, ...]:
    different = [f"{count} {kind}" for kind, count in body["counts"].items() if count]
    return (
        body["purpose"],
        body["state"],
        cell.minute(body["report_at"]),
        str(body["certificates"]),
        cell.reason(body["reason"]) or cell.text(different),
    )


RECONCILIATIONS = Listing(
    "/api/v1/reconciliations", ("purpose", "state", "report of", "certificates", "differences"), _row
)


async def _items(desk: Desk, given: Given) -> int:
    found = Listing(
        f"{RECONCILIATIONS.path}/{in_path(given.purpose)}/items",
        ("serial number", "CA", "kind", "charger", "ends", "subject"),
        lambda body: (
            body["serial_number"],
            body["authority_id"],
            body["kind"],
            cell.text(body["charger_id"]),
            cell.day(body["not_after"]),
            body["subject"],
        ),
    )
    found.show(desk, await found.rows(desk.client, {}, limit_of(given)))
    return 0


async def _run(desk: Desk, given: Given) -> int:
    path = f"{RECONCILIATIONS.path}/{in_path(given.purpose)}"
    answer = await desk.client.post(path, {"reason": given.reason}, key_of(given))
    desk.paper.document(answer)
    desk.paper.line(
        f"{answer['purpose']}: {answer['state']}, asked for {cell.second(answer['requested_at'])}"
    )
    return 0


_PURPOSE = word("purpose", help="whose CAs")
COMMANDS = (
    listing_command(
        THING.name,
        RECONCILIATIONS,
        says="list the last comparison of each CA with the ledger",
        example="reconciliations list",
    ),
    Command(
        thing=THING.name,
        action="items",
        help="list the certificates of which a CA and the ledger do not say the same",
        example="reconciliations items charging_station",
        run=_items,
        arguments=(_PURPOSE, limit_option()),
    ),
    Command(
        thing=THING.name,
        action="run",
        help="compare a purpose's CAs with the ledger now",
        example="reconciliations run charging_station --reason 'database restored'",
        run=_run,
        arguments=(_PURPOSE, REASON, KEY),
    ),
)
