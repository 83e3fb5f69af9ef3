"""OCPP-J frames: JSON arrays in and out, strict about their shape and ignorant of what they carry.

Source: OCPP 2.0.1 part 4 sections 4.1-4.3; OCPP 2.1 part 4 for the message types 5 and 6.
"""

from typing import Any

import msgspec
import orjson

MESSAGE_ID_MAX_CHARS = 36
UNREADABLE = "-1"
"""The message id a CALLERROR carries when none could be read."""

DESCRIPTION_MAX_CHARS = 255
NOT_JSON = "not JSON"

Payload = dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A well-formed CALL; the payload is not validated yet."""

    message_id: str
    action: str
    payload: Payload


class Result(msgspec.Struct, frozen=True):
    """A well-formed CALLRESULT."""

    message_id: str
    payload: Payload


class Error(msgspec.Struct, frozen=True):
    """A CALLERROR; `code` and `description` as far as they could be read."""

    message_id: str
    code: str
    description: str


class ResultError(msgspec.Struct, frozen=True):
    """A CALLRESULTERROR (2.1): an answer of ours was of no use. Read as far as possible, and never answered."""

    message_id: str | None
    code: str
    description: str


class Send(msgspec.Struct, frozen=True):
    """A well-formed SEND (2.1): a message that is never answered; its payload is not validated yet."""

    message_id: str
    action: str
    payload: Payload


class BrokenSend(msgspec.Struct, frozen=True):
    """A SEND that is none, and is not answered either."""

    code: str


class Broken(msgspec.Struct, frozen=True):
    """A frame to be answered with a CALLERROR."""

    message_id: str
    code: str
    description: str


class BrokenAnswer(msgspec.Struct, frozen=True):
    """A CALLRESULT or CALLERROR that is none; an answer is never answered. `message_id` is None if unreadable."""

    message_id: str | None
    description: str


Read = Call | Result | Error | ResultError | Send | Broken | BrokenAnswer | BrokenSend


def parse(data: bytes, *, has_sends: bool = False) -> Read:
    """Read one frame. Never raises, whatever the bytes. `has_sends`: the types 5 and 6 of 2.1 are spoken here."""
    try:
        frame = orjson.loads(data)
    except orjson.JSONDecodeError:
        return Broken(UNREADABLE, "RpcFrameworkError", NOT_JSON)
    if type(frame) is not list or not frame:
        return Broken(UNREADABLE, "RpcFrameworkError", "not a JSON array")
    kind = frame[0]
    message_id = _message_id(frame)
    if kind == 2 and type(kind) is int:
        return _call(frame, message_id)
    if kind == 3 and type(kind) is int:
        if message_id is not None and len(frame) == 3:
            payload = frame[2] if frame[2] is not None else {}
            if type(payload) is dict:
                return Result(message_id, payload)
        return BrokenAnswer(message_id, "a CALLRESULT must be [3, messageId, payload]")
    if kind == 4 and type(kind) is int:
        return _error(frame, message_id)
    if has_sends and kind in (5, 6) and type(kind) is int:
        return _result_error(frame, message_id) if kind == 5 else _send(frame, message_id)
    if type(kind) is int:
        return Broken(message_id or UNREADABLE, "MessageTypeNotSupported", "unknown message type number")
    return Broken(message_id or UNREADABLE, "RpcFrameworkError", "the message type number is not an integer")


def _message_id(frame: list[Any]) -> str | None:
    if len(frame) < 2:
        return None
    value = frame[1]
    return value if type(value) is str and 0 < len(value) <= MESSAGE_ID_MAX_CHARS else None


def _call(frame: list[Any], message_id: str | None) -> Call | Broken:
    if message_id is None:
        return Broken(UNREADABLE, "RpcFrameworkError", "the message id must be text of 1 to 36 characters")
    if len(frame) != 4:
        return Broken(message_id, "RpcFrameworkError", "a CALL must be [2, messageId, action, payload]")
    _, _, action, payload = frame
    if type(action) is not str:
        return Broken(message_id, "RpcFrameworkError", "the action is not text")
    if payload is None:
        payload = {}
    if type(payload) is not dict:
        return Broken(message_id, "FormatViolation", "the payload is not an object")
    return Call(message_id, action, payload)


def _error(frame: list[Any], message_id: str | None) -> Error | BrokenAnswer:
    if message_id is None or len(frame) < 3 or type(frame[2]) is not str:
        return BrokenAnswer(message_id, "a CALLERROR must be [4, messageId, code, description, details]")
    description = frame[3] if len(frame) > 3 and type(frame[3]) is str else ""
    return Error(message_id, frame[2][:64], description[:DESCRIPTION_MAX_CHARS])


def _result_error(frame: list[Any], message_id: str | None) -> ResultError:
    code, description = (*frame[2:4], "", "")[:2]
    return ResultError(
        message_id,
        code[:64] if type(code) is str else "",
        description[:DESCRIPTION_MAX_CHARS] if type(description) is str else "",
    )


def _send(frame: list[Any], message_id: str | None) -> Send | BrokenSend:
    read = _call(frame, message_id)
    if isinstance(read, Broken):
        return BrokenSend(read.code)
    return Send(read.message_id, read.action, read.payload)


def call(message_id: str, action: str, payload: Payload) -> bytes:
    """A CALL of ours."""
    return orjson.dumps([2, message_id, action, payload])


def result(message_id: str, payload: Payload) -> bytes:
    """Our CALLRESULT."""
    return orjson.dumps([3, message_id, payload])


def error(message_id: str, code: str, description: str = "") -> bytes:
    """Our CALLERROR; details stay empty, so that nothing of the charger's message is echoed."""
    return orjson.dumps([4, message_id, code, description[:DESCRIPTION_MAX_CHARS], {}])
