"""The one error tree.

    BetterFleetError
    ├── SettingsError          a setting is missing or contradictory; exit 2, one line
    ├── Unavailable            a peer (Postgres, NATS, CA) is away; safe to try again
    │   ├── NotOwner           nobody owns this partition just now; Retry-After
    │   └── Overtaken          another partition took a unique value first; decide again on fresh state
    ├── NotFetched             an address outside could not or must not be asked, and why
    ├── Fenced                 another owner has taken the partition; drop memory and stop
    ├── EvidenceKnown          a commit holds evidence an earlier one has taken; decide again without it
    ├── LedgerCorrupt          a stored row contradicts its hash or its state
    ├── CaError                a CA answered with an error (its own tree: `bfactors.ca`)
    ├── MalformedNote          a signed note or checkpoint cannot be read (`bfactors.audit`)
    ├── MalformedX509          text or DER is no certificate or CSR (`bfactors.x509`)
    ├── MailboxClosed          an actor takes no more messages (`actors.mailbox`)
    └── LaneClosed             a lane takes no more work (`supervisors.lane`)

A refusal is not an error: it is a returned value (`bfactors.refusal.Refusal`).
"""


class BetterFleetError(Exception):
    """Base of everything this system raises on purpose."""


class SettingsError(BetterFleetError):
    """A setting is missing, malformed or contradicts another one; the text is one line for an operator."""


class Unavailable(BetterFleetError):
    """A peer is away; the same request may be repeated without harm."""

    def __init__(self, peer: str, detail: str = "", retry_after_s: int = 5) -> None:
        super().__init__(f"{peer} is unavailable" + (f": {detail}" if detail else ""))
        self.peer = peer
        self.retry_after_s = retry_after_s


class NotOwner(Unavailable):
    """No live owner answered for the partition within the time allowed."""


class Overtaken(Unavailable):
    """A serial number, fingerprint or idempotency key was taken between decision and commit; nothing was written.

    Decided again on fresh state it becomes a refusal. The same message overtaken twice is a contradiction, not a race.
    """


class NotFetched(BetterFleetError):
    """An address that somebody else named gave nothing, or was refused.

    `reason`: bad-address, private-address, left-alone, unreachable, timeout, server-error, not-ok or too-large.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Fenced(BetterFleetError):
    """The partition's row moved under us: another owner has taken it. Nothing was written."""


class EvidenceKnown(BetterFleetError):
    """Some of a batch's evidence was taken by an earlier commit. Nothing was written; `known_evidence` says which."""


class LedgerCorrupt(BetterFleetError):
    """A stored row contradicts its hash, its sequence or its aggregate."""


class MalformedNote(BetterFleetError):
    """A text is no signed note, or a note's text no checkpoint."""
