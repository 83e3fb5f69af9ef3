"""A checkpoint: how far a partition's ledger had come at a time, as one hash that commits to every row up to there."""

import base64
import binascii
import re
from datetime import UTC, datetime

import msgspec

from bfactors.audit.note import SignedNote, parse_note
from bfactors.errors import MalformedNote

_ORIGIN = re.compile(r"(\S+)/(\d{2})")
_SIZE = re.compile(r"0|[1-9]\d{0,17}")
_HEAD = re.compile(r"head ([0-9a-f]{64})")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`root_hash` is the head of the tree over the first `size` rows, `head_hash` the hash of row `size` itself.

    `origin` names the ledger: another one for every system, and a new one after history was really lost.
    """

    origin: str
    partition: int
    size: int
    root_hash: str
    head_hash: str
    made_at: datetime

    @property
    def text(self) -> str:
        """What is signed: the lines of C2SP's `tlog-checkpoint`, and two of ours."""
        root = base64.b64encode(bytes.fromhex(self.root_hash)).decode()
        made = self.made_at.astimezone(UTC).strftime(_TIME)
        return (
            f"{self.origin}/{self.partition:02d}\n{self.size}\n{root}\nhead {self.head_hash}\ntime {made}\n"
        )


class SignedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint with the note it was read from."""

    checkpoint: Checkpoint
    note: SignedNote


def checkpoint_of(note: SignedNote) -> Checkpoint:
    """What a note says; nobody's word until its signature was verified. Raises MalformedNote."""
    lines = note.text.split("\n")
    if len(lines) != 6:
        raise MalformedNote("a checkpoint has five lines")
    origin, head = _ORIGIN.fullmatch(lines[0]), _HEAD.fullmatch(lines[3])
    if origin is None or head is None or _SIZE.fullmatch(lines[1]) is None:
        raise MalformedNote("its origin, size or head is not of a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
        made = datetime.strptime(lines[4].removeprefix("time "), _TIME).replace(tzinfo=UTC)
    except (binascii.Error, ValueError):
        raise MalformedNote("its root or time is not of a checkpoint") from None
    found = Checkpoint(
        origin=origin[1],
        partition=int(origin[2]),
        size=int(lines[1]),
        root_hash=root.hex(),
        head_hash=head[1],
        made_at=made,
    )
    if found.text != note.text:
        raise MalformedNote("it is not written as a checkpoint is")
    return found


def signed_checkpoint(content: str) -> SignedCheckpoint:
    """A note that holds a checkpoint; its signatures are not looked at. Raises MalformedNote."""
    note = parse_note(content)
    return SignedCheckpoint(checkpoint=checkpoint_of(note), note=note)
