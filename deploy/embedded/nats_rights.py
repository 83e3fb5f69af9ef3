"""Who may say and hear what on NATS: the accounts and subject rights of the system's nkey users.

`core` decides, so commands, ledger events, instructions and admission records are its alone. `connect` reports
evidence and relays, asks for secrets and decisions, and reads admission, control and its instructions. `observer` looks.

Rights on one shared account would not be enough: the server checks where a client publishes but not the reply subject
it names, so a client could have the server's own answers - a publish acknowledgement, somebody else's admission record -
stored under `bf.ledger` or `$KV.bf_admission`. Therefore `connect` and `observer` each live in an account of their own and
import, subject by subject, what the system's account offers; an answer then returns to the asker's account and nowhere else.

Two things follow. A reply to a message heard through an import does not travel back, so core does not ask connect
anything by request-reply: what connect has to say is evidence. And one gap remains: a consumer on a bucket may be aimed at
any subject of the system's account with a live listener; it can carry only what core wrote into that bucket, so readers
of `bf.command` must refuse what does not parse as a command.
"""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM_ACCOUNT = "BF"
ROLES = ("core", "connect", "observer")
TEST_ROLE = "test"
BUCKETS_CONNECT_READS = ("bf_admission", "bf_control")
EVERYTHING = ">"


@dataclass(frozen=True, slots=True)
class SubjectRights:
    """Allow-lists of a user outside the system's account; whatever is not named is refused.

    `asks` may be published to, answers come back to the user's inbox. `hears` may be subscribed to. `is_watching` lets
    consumers deliver into the inbox, as watching a bucket requires.
    """

    asks: tuple[str, ...]
    hears: tuple[str, ...]
    is_watching: bool = False


def inbox_prefix(role: str) -> str:
    """To be passed as `inbox_prefix` when connecting as `role`; with the default prefix no answer arrives."""
    return f"_INBOX_{role}"


def _bucket_reading(bucket: str) -> tuple[str, ...]:
    """What it takes to bind, get, list and watch a KV bucket, and nothing that changes it.

    Watching creates an ordered consumer, reads its state and answers the flow control of large snapshots. The
    consumers need no deletion: they vanish when nobody listens.
    """
    stream = f"KV_{bucket}"
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}",
        f"$JS.API.DIRECT.GET.{stream}.>",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.FC.{stream}.>",
    )


GUESTS = {
    "connect": SubjectRights(
        asks=(
            "bf.evidence.>",
            "bf.ocpp.>",
            "bf.secret.>",
            "bf.ocpp-decision.>",
            "bf.node.>",
            "bf.seen.>",
            "bf.trace.>",
            "$JS.API.INFO",
            *(subject for bucket in BUCKETS_CONNECT_READS for subject in _bucket_reading(bucket)),
        ),
        hears=("bf.instruction.>", *(f"$KV.{bucket}.>" for bucket in BUCKETS_CONNECT_READS)),
        is_watching=True,
    ),
    # No consumers: they can be aimed (see above). No relayed traffic: what one guest asks is not delivered to what
    # another hears on the same server (nats-server issue 8338), so the right would be a silent one.
    "observer": SubjectRights(
        asks=("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*"),
        hears=("bf.ledger.>",),
    ),
}


def accounts(public_keys: dict[str, str]) -> dict[str, object]:
    """The `accounts` section of nats-server's configuration for these roles and their public nkeys."""
    system_users = [
        _user(key, (EVERYTHING,), (EVERYTHING,)) for role, key in public_keys.items() if role not in GUESTS
    ]
    services: dict[str, list[str]] = {}
    streams: dict[str, list[str]] = {}
    guest_accounts: dict[str, object] = {}
    for role in (role for role in public_keys if role in GUESTS):
        rights, account, inbox = GUESTS[role], role.upper(), f"{inbox_prefix(role)}.>"
        heard = (*rights.hears, inbox) if rights.is_watching else rights.hears
        for subject in rights.asks:
            services.setdefault(subject, []).append(account)
        for subject in heard:
            streams.setdefault(subject, []).append(account)
        guest_accounts[account] = {
            # The rights are repeated on the user: inside its own account it could otherwise play core to its like.
            "users": [_user(public_keys[role], rights.asks, (*rights.hears, inbox))],
            "imports": [
                *({"service": {"account": SYSTEM_ACCOUNT, "subject": subject}} for subject in rights.asks),
                *({"stream": {"account": SYSTEM_ACCOUNT, "subject": subject}} for subject in heard),
            ],
        }
    exports = [
        *({"service": subject, "accounts": allowed} for subject, allowed in services.items()),
        *({"stream": subject, "accounts": allowed} for subject, allowed in streams.items()),
    ]
    system = {"jetstream": "enabled", "users": system_users, "exports": exports}
    return {SYSTEM_ACCOUNT: system, **guest_accounts}


def _user(public_key: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> dict[str, object]:
    permissions = {"publish": {"allow": list(publish)}, "subscribe": {"allow": list(subscribe)}}
    return {"nkey": public_key, "permissions": permissions}
