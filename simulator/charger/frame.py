"""OCPP-J frames: the JSON arrays that travel in WebSocket text messages (2.0.1 Part 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

Payload = dict[str, Any]


class MalformedFrame(Exception):
    """A message that is no OCPP-J frame."""


class CallRefused(Exception):
    """A call that is answered with CALLERROR: its code from OCPP's list, and a sentence."""

    def __init__(self, code: str, description: str = "") -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code
        self.description = description


@dataclass(frozen=True, slots=True)
class Call:
    """A request, from either side."""

    message_id: str
    action: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallResult:
    """The answer to the call with this message id."""

    message_id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallError:
    """The refusal of the call with this message id."""

    message_id: str
    code: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class CallResultError:
    """The refusal of the answer to the call with this message id (OCPP 2.1, message type 5)."""

    message_id: str
    code: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """A message that is not answered (OCPP 2.1, message type 6)."""

    message_id: str
    action: str
    payload: Payload


Frame = Call | CallResult | CallError | CallResultError | Send


def encode(frame: Frame) -> bytes:
    """UTF-8 JSON for one text message."""
    match frame:
        case Call(message_id, action, payload):
            return orjson.dumps([2, message_id, action, payload])
        case CallResult(message_id, payload):
            return orjson.dumps([3, message_id, payload])
        case CallError(message_id, code, description):
            return orjson.dumps([4, message_id, code, description[:255], {}])
        case CallResultError(message_id, code, description):
            return orjson.dumps([5, message_id, code, description[:255], {}])
        case Send(message_id, action, payload):
            return orjson.dumps([6, message_id, action, payload])


def decode(message: str | bytes, *, extended: bool = False) -> Frame:
    """One frame out of one message; `extended` knows the message types that came with OCPP 2.1.

    Raises: MalformedFrame.
    """
    try:
        parts = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise MalformedFrame("not JSON") from error
    match parts:
        case [2, str(message_id), str(action), dict(payload)]:
            return Call(message_id, action, payload)
        case [3, str(message_id), dict(payload)]:
            return CallResult(message_id, payload)
        case [4, str(message_id), str(code), str(description), *_]:
            return CallError(message_id, code, description)
        case [5, str(message_id), str(code), str(description), *_] if extended:
            return CallResultError(message_id, code, description)
        case [6, str(message_id), str(action), dict(payload)] if extended:
            return Send(message_id, action, payload)
        case _:
            raise MalformedFrame("no message type of this version")


def text_of(payload: Payload, name: str) -> str:
    """A required text field.

    Raises: CallRefused, with the code OCPP has for what is wrong.
    """
    value = payload.get(name)
    if value is None:
        raise CallRefused("OccurrenceConstraintViolation", f"{name} is missing")
    if not isinstance(value, str):
        raise CallRefused("TypeConstraintViolation", f"{name} is no text")
    return value


def number_of(payload: Payload, name: str) -> int:
    """A required whole number.

    Raises: CallRefused, with the code OCPP has for what is wrong.
    """
    value = payload.get(name)
    if value is None:
        raise CallRefused("OccurrenceConstraintViolation", f"{name} is missing")
    if not isinstance(value, int) or isinstance(value, bool):
        raise CallRefused("TypeConstraintViolation", f"{name} is no whole number")
    return value


def object_of(payload: Payload, name: str) -> Payload:
    """A required JSON object.

    Raises: CallRefused, with the code OCPP has for what is wrong.
    """
    value = payload.get(name)
    if value is None:
        raise CallRefused("OccurrenceConstraintViolation", f"{name} is missing")
    if not isinstance(value, dict):
        raise CallRefused("TypeConstraintViolation", f"{name} is no object")
    return value


def objects_of(payload: Payload, name: str) -> list[Payload]:
    """A required, non-empty list of JSON objects.

    Raises: CallRefused, with the code OCPP has for what is wrong.
    """
    value = payload.get(name)
    if not value:
        raise CallRefused("OccurrenceConstraintViolation", f"{name} is missing or empty")
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise CallRefused("TypeConstraintViolation", f"{name} is no list of objects")
    return value
