"""The fleet's further lists: each a table, and no more than that."""

from deploy.ctl import cell
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, option
from deploy.ctl.listing import Listing, limit_of, limit_option, listing_command

THINGS = (
    Thing("security-events", "list what chargers and gateways reported", ("security-event",)),
    Thing("purposes", "list what certificates can be for", ("purpose",)),
    Thing("notifications", "list what people were told, and who is told", ("notification",)),
)


def _security_event(body: Body) -> tuple[str, ...]:
    times = f"{body['count']}x " if body["count"] > 1 else ""
    critical = "critical: " if body.get("critical") else ""
    return (
        cell.minute(body["observed_at"]),
        cell.text(body["charger_id"]),
        body["kind"],
        cell.text(f"{times}{critical}{body['detail']}".removesuffix(": ")),
    )


def _notification(body: Body) -> tuple[str, ...]:
    return (
        cell.minute(body["created_at"]),
        body["kind"],
        cell.text(body["charger_id"]),
        body["state"],
        body["text"] if body["last_error"] is None else f"{body['last_error']}: {body['text']}",
    )


def _subscription(body: Body) -> tuple[str, ...]:
    return (
        body["subscription_id"],
        f"{body['channel']} {body['target']}",
        body["role"],
        body["least_severity"],
        cell.text([*body["kinds"], *body["cohorts"]]) if body["kinds"] or body["cohorts"] else "everything",
    )


def _purpose(body: Body) -> tuple[str, ...]:
    return (
        body["purpose"],
        body["realm"],
        cell.text(body["modes"]),
        cell.text(body["dependent_bundle"]),
        body["active_rung"],
    )


SUBSCRIPTIONS = Listing(
    "/api/v1/notification-subscriptions",
    ("subscription", "to", "role", "from", "about"),
    _subscription,
)


async def _subscriptions(desk: Desk, given: Given) -> int:
    SUBSCRIPTIONS.show(desk, await SUBSCRIPTIONS.rows(desk.client, {}, limit_of(given)))
    return 0


COMMANDS = (
    listing_command(
        "security-events",
        Listing(
            "/api/v1/security-events", ("at", "charger", "kind", "detail"), _security_event, frozenset({0, 1})
        ),
        (option("--charger-id", metavar="ID"), option("--kind", metavar="NAME")),
        says="list security events, newest first",
        example="security-events --charger-id depot-7-bay-2",
    ),
    listing_command(
        "purposes",
        Listing("/api/v1/purposes", ("purpose", "realm", "modes", "bundle", "active when"), _purpose),
        says="list what certificates can be for",
        example="purposes",
    ),
    listing_command(
        "notifications",
        Listing("/api/v1/notifications", ("at", "kind", "charger", "state", "text"), _notification),
        (
            option("--state", choices=("pending", "delivered", "given-up", "withdrawn")),
            option("--subscription-id", metavar="ID"),
            option("--charger-id", metavar="ID"),
        ),
        says="list what was told, newest first",
        example="notifications --state given-up",
    ),
    Command(
        thing="notifications",
        action="subscriptions",
        help="list who is told of what",
        example="notifications subscriptions",
        run=_subscriptions,
        arguments=(limit_option(),),
    ),
)
