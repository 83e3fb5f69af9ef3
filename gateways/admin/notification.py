"""Who is told when something needs a person, and what was told."""

import secrets
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bfactors.command import RemoveSubscription, SetSubscription
from bfactors.fleet.subscription import body as subscription_body
from bfactors.notice import KIND_NAMES, Channel, SealedTarget, Severity, Subscription
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.fleet import Fleet
from gateways.admin.inbound import given
from gateways.admin.paging import PageQuery, cut, page_of
from gateways.admin.ports import NotificationDesk
from gateways.admin.problem import Problem
from gateways.admin.role import ROLES
from gateways.admin.route import Answer, Call, Route

_SIGNING_KEY_BYTES = 32
_MOST_FILTERS = 64

RoleName = Annotated[str, Meta(pattern=f"^({'|'.join(sorted(ROLES))})$(?!\\n)", description="Whom it is for")]
KindName = Annotated[str, Meta(pattern=f"^({'|'.join(KIND_NAMES)})$(?!\\n)")]
Address = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=500,
        pattern=r"^(https?://[!-~]+|[^\s@:/\\\"<>(),;]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,180}[A-Za-z0-9])?)$(?!\n)",
        description="An https URL for a webhook (http only to hosts of BF_EGRESS_ALLOWED_HOSTS), else an e-mail address; "
        "kept sealed",
    ),
]


class SubscribeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`kinds` and `cohorts` narrow it down; absent or empty: all of them. What is about no charger is in no cohort."""

    address: Address
    role: RoleName
    least_severity: Severity = "warning"
    kinds: Annotated[tuple[KindName, ...], Meta(max_length=_MOST_FILTERS)] = ()
    cohorts: Annotated[tuple[field.Name, ...], Meta(max_length=_MOST_FILTERS)] = ()


class RemoveBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: field.Reason


class NoticeSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription without its address; `target` is the address's host or domain."""

    subscription_id: str
    channel: Channel
    target: str
    role: str
    least_severity: Severity
    kinds: tuple[str, ...]
    cohorts: tuple[str, ...]
    since: datetime
    signing_key: str | UnsetType = UNSET
    """A webhook's, in this one answer: what its notices are signed with."""
    key_shown: bool | UnsetType = UNSET
    """The signing key was in the first answer to this request, and is in no other."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How a trial notice fared: `delivered`, or `failed` with the reason."""

    outcome: str
    error: str | None


class NotificationQuery(PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters."""

    state: shape.NotificationState | UnsetType = UNSET
    subscription_id: field.Id | UnsetType = UNSET
    charger_id: field.ChargerId | UnsetType = UNSET


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One notice to one subscription."""

    notice_id: str
    subscription_id: str
    kind: str
    severity: str
    text: str
    charger_id: str | None
    job_id: str | None
    state: shape.NotificationState
    attempts: int
    created_at: str
    next_at: str | None
    settled_at: str | None
    last_error: str | None


class Notifications:
    """`/api/v1/notification-subscriptions` and `/api/v1/notifications`."""

    def __init__(self, dependencies: AdminDependencies, fleet: Fleet, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._desk = dependencies.notifications
        self._fleet = fleet
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        path = "/api/v1/notification-subscriptions"
        return (
            Route(
                method="GET",
                path=path,
                operation="notifications.subscriptions",
                summary="Who is told of what",
                handler=self.list,
                query=PageQuery,
                answer=shape.Page[NoticeSubscription],
            ),
            Route(
                method="POST",
                path=path,
                operation="notifications.subscribe",
                summary="Have notices sent to a webhook or an e-mail address",
                description="A webhook's notices are signed with the `signing_key` of this one answer: header "
                "`BetterFleet-Signature: t=<unix time>,v1=<hex HMAC-SHA256 of t.body>`. A notice may come twice under one "
                "`notice_id`; one that is not taken is sent again for a day.",
                handler=self.subscribe,
                body=SubscribeBody,
                answer=NoticeSubscription,
                status=201,
                conflicts=True,
                secret_fields=("address",),
            ),
            Route(
                method="POST",
                path=path + "/{subscription_id}/remove",
                operation="notifications.unsubscribe",
                summary="Send nothing there any more, and forget the address",
                handler=self.unsubscribe,
                body=RemoveBody,
                answer=NoticeSubscription,
            ),
            Route(
                method="POST",
                path=path + "/{subscription_id}/test",
                operation="notifications.test",
                summary="Send a trial notice there now",
                handler=self.test,
                answer=Told,
                conflicts=True,
            ),
            Route(
                method="GET",
                path="/api/v1/notifications",
                operation="notifications.list",
                summary="What was told, or still is to be, newest first",
                handler=self.told,
                query=NotificationQuery,
                answer=shape.Page[Notification],
            ),
        )

    async def list(self, call: Call, query: PageQuery) -> Answer:
        subscriptions = (await self._fleet.state()).subscriptions
        return Answer(
            cut(
                "notification-subscriptions",
                sorted(subscriptions.items()),
                lambda row: row[0],
                lambda row: subscription_body(row[1]),
                limit=query.limit,
                cursor=query.cursor or None,
            )
        )

    async def subscribe(self, call: Call, body: SubscribeBody) -> Answer:
        desk = self._notifying()
        is_webhook = "://" in body.address
        channel: Channel = "webhook" if is_webhook else "email"
        key = secrets.token_hex(_SIGNING_KEY_BYTES) if is_webhook else ""
        target = desk.target_of(body.address)
        if target is None:
            raise Problem.of_field(
                "address", "nothing may be sent there: it takes https, and an address of the Internet"
            )
        secret_id = call.repetition.new_id("notify")
        is_new = await desk.seal(secret_id, SealedTarget(address=body.address, signing_key=key))
        command = SetSubscription(
            subscription_id=call.repetition.new_id("sub"),
            channel=channel,
            target=target,
            role=body.role,
            secret_id=secret_id,
            least_severity=body.least_severity,
            kinds=body.kinds,
            cohorts=body.cohorts,
        )
        recorded = result_of(await self._commands.to_fleet(call, command))
        await desk.keep(secret_id)
        shown: dict[str, Any] = {
            "subscription_id": command.subscription_id,
            "channel": channel,
            "target": target,
            "role": body.role,
            "least_severity": body.least_severity,
            "kinds": sorted(set(body.kinds)),
            "cohorts": sorted(set(body.cohorts)),
            "since": recorded["since"],
        }
        if is_webhook:
            shown |= {"signing_key": key} if is_new else {"key_shown": True}
        return Answer(shown, 201)

    async def unsubscribe(self, call: Call, body: RemoveBody) -> Answer:
        subscription_id = call.path["subscription_id"]
        before = await self._find(subscription_id)
        command = RemoveSubscription(subscription_id=subscription_id, reason=body.reason)
        removed = result_of(await self._commands.to_fleet(call, command))
        await self._notifying().forget(str(removed["secret_id"]))
        return Answer(subscription_body(before))

    async def test(self, call: Call) -> Answer:
        error = await self._notifying().test(await self._find(call.path["subscription_id"]))
        return Answer({"outcome": "delivered" if error is None else "failed", "error": error})

    async def told(self, call: Call, query: NotificationQuery) -> Answer:
        return page_of(await self._reader.notifications(**given(query)))

    async def _find(self, subscription_id: str) -> Subscription:
        found = (await self._fleet.state()).subscriptions.get(subscription_id)
        if found is None:
            raise Problem.unknown("subscription", subscription_id)
        return found

    def _notifying(self) -> NotificationDesk:
        if self._desk is None:
            raise Problem(409, "no-notifier", "this process sends no notices")
        return self._desk
