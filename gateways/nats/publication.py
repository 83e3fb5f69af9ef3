"""What is stored in JetStream, and what JetStream says of it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from bfactors.errors import Unavailable

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_LAST_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
WRONG_LAST_SEQUENCE = 10071
STREAM_FULL = frozenset({10054, 10077})
"""Maximum bytes, maximum messages: repeating at once would not help."""
_NOT_NOW = 503


class Publication(NamedTuple):
    """What to store where."""

    subject: str
    payload: bytes
    headers: Mapping[str, str] | None = None


class Ack(NamedTuple):
    """The stream holds the message at `sequence`; `duplicate`: it already did."""

    sequence: int
    duplicate: bool


class NotStored(NamedTuple):
    """JetStream said no. `err_code` is its own number, 0 when the client knew without asking."""

    err_code: int
    description: str


Result = Ack | NotStored | Unavailable


class _ApiError(msgspec.Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    error: _ApiError | None = None


_ACK_DECODER = msgspec.json.Decoder(_PubAck)


def said_by(payload: bytes) -> Ack | NotStored | None:
    """The meaning of an acknowledgement; None: not now, ask again."""
    try:
        ack = _ACK_DECODER.decode(payload)
    except msgspec.DecodeError:
        return NotStored(0, "the acknowledgement was not understood")
    if ack.error is None:
        return Ack(ack.seq, ack.duplicate)
    if ack.error.code == _NOT_NOW and ack.error.err_code not in STREAM_FULL:
        return None
    return NotStored(ack.error.err_code, ack.error.description)
