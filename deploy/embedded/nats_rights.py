"""Who may say and hear what on NATS: the subject rights of the system's three nkey users.

`core` decides, so commands, ledger events, instructions and admission records are its alone. `connect` reports
evidence and relays, asks for secrets and decisions, and reads admission, control and its instructions. `observer` looks.
Each user has an inbox of its own, so that an answer meant for one (a secret!) cannot be overheard by another.

A limit of NATS worth knowing: the server checks where a client publishes, not the reply subject it names. So a user can
make the server's own answers (a publish acknowledgement, an admission record) arrive on a subject it may not publish to;
it cannot choose their content. Readers of `bf.command` and `bf.ledger` must refuse what does not parse.
"""

from __future__ import annotations

from dataclasses import dataclass

CONNECT_BUCKETS = ("bf_admission", "bf_control")


@dataclass(frozen=True, slots=True)
class SubjectRights:
    """Allow-lists; whatever is not named is refused. `may_answer`: one reply to each message received with a reply subject."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    may_answer: bool = False


def inbox_prefix(role: str) -> str:
    """To be passed as `inbox_prefix` when connecting as `role`; with the default prefix no answer arrives."""
    return f"_INBOX_{role}"


def rights_of(role: str) -> SubjectRights:
    """Raises KeyError for a role that does not exist."""
    return _RIGHTS[role]


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


_RIGHTS = {
    "core": SubjectRights(
        publish=(">",),
        subscribe=(">",),
    ),
    "connect": SubjectRights(
        publish=(
            "bf.evidence.>",
            "bf.ocpp.>",
            "bf.secret.>",
            "bf.ocpp-decision.>",
            "bf.node.>",
            "$JS.API.INFO",
            *(subject for bucket in CONNECT_BUCKETS for subject in _bucket_reading(bucket)),
        ),
        subscribe=(
            "bf.instruction.>",
            *(f"$KV.{bucket}.>" for bucket in CONNECT_BUCKETS),
            f"{inbox_prefix('connect')}.>",
        ),
        may_answer=True,
    ),
    # No consumers for the observer: a consumer can be aimed at any subject, and what it would carry includes relayed
    # traffic, whose content a charger chooses. It listens, and it looks at the state of streams.
    "observer": SubjectRights(
        publish=("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*"),
        subscribe=("bf.ledger.>", "bf.ocpp.>", f"{inbox_prefix('observer')}.>"),
    ),
    # Only on servers of tests: whatever a test needs to look at, prepare or wipe.
    "test": SubjectRights(publish=(">",), subscribe=(">",)),
}

ROLES = ("core", "connect", "observer")
TEST_ROLE = "test"
