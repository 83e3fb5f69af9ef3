"""Who is told of what: subscriptions to notices, set and removed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from bfactors import command as c
from bfactors import event as e
from bfactors.notice import CHANNELS, KIND_NAMES, SEVERITIES, Subscription
from bfactors.refusal import Refusal

MOST_SUBSCRIPTIONS = 200

Subscriptions = Mapping[str, Subscription]


def subscribed(
    known: Subscriptions, command: c.SetSubscription
) -> e.NotificationSubscriptionSet | Refusal | None:
    """What setting one leads to; None if it is as it was."""
    for field, found, choices in (
        ("channel", (command.channel,), CHANNELS),
        ("least_severity", (command.least_severity,), SEVERITIES),
        ("kinds", command.kinds, KIND_NAMES),
    ):
        if strange := [one for one in found if one not in choices]:
            return Refusal("invalid-value", f"{strange[0]!r} is none of {', '.join(choices)}", field)
    if command.subscription_id not in known and len(known) >= MOST_SUBSCRIPTIONS:
        return Refusal(
            "too-many-subscriptions", f"there are {MOST_SUBSCRIPTIONS}; remove one", "subscription_id", 409
        )
    event = e.NotificationSubscriptionSet(
        subscription_id=command.subscription_id,
        channel=command.channel,
        target=command.target,
        role=command.role,
        secret_id=command.secret_id,
        least_severity=command.least_severity,
        kinds=tuple(sorted(set(command.kinds))),
        cohorts=tuple(sorted(set(command.cohorts))),
    )
    before = known.get(command.subscription_id)
    return None if before is not None and before == subscription_of(event, before.since) else event


def removed(
    known: Subscriptions, command: c.RemoveSubscription
) -> e.NotificationSubscriptionRemoved | Refusal:
    """What removing one leads to."""
    if not command.reason.strip():
        return Refusal("reason-missing", "say why", "reason")
    if command.subscription_id not in known:
        return Refusal(
            "unknown-subscription", f"there is no {command.subscription_id!r}", "subscription_id", 404
        )
    return e.NotificationSubscriptionRemoved(subscription_id=command.subscription_id, reason=command.reason)


def subscription_of(event: e.NotificationSubscriptionSet, since: datetime) -> Subscription:
    """As the fleet's state keeps it."""
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return msgspec.convert({**fields, "since": since}, Subscription)


def changed(
    known: Subscriptions,
    event: e.NotificationSubscriptionSet | e.NotificationSubscriptionRemoved,
    now: datetime,
) -> dict[str, Subscription]:
    """The subscriptions after the event."""
    others = {key: one for key, one in known.items() if key != event.subscription_id}
    if isinstance(event, e.NotificationSubscriptionSet):
        others[event.subscription_id] = subscription_of(event, now)
    return others


def body(one: Subscription) -> dict[str, Any]:
    """A subscription as the API shows it: without its address."""
    shown = msgspec.structs.asdict(one)
    del shown["secret_id"]
    return shown
