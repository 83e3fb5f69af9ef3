"""A charger's frames written down on demand, for people: bounded in time and number, and without anything secret.

What cannot be read cannot be cleaned, so it is not shown at all. Masked are keys and passwords, identifications, CSRs and
certificates (their bulk hides the rest, and the inventory has them), EXI messages, and the credentials in addresses.
"""

import re
from datetime import datetime
from typing import Any, Literal

import msgspec

from bfactors.confidential import SECRET_FIELDS, is_plain, is_secret_setting, secrets_in, setting_name
from bfactors.free_text import without_identifiers

SECONDS_MAX = 600
FRAMES_MAX = 500
TEXT_MAX_CHARS = 2048
_FRAME_MAX_BYTES = 1 << 20
"""Beyond this a frame's text is not worked on: it would hold up every other charger of this lane."""
_OPEN_CALLS_MAX = 128
_CALL, _RESULT = 2, 3
_CALLS = frozenset({_CALL, 6})
_ERRORS = frozenset({4, 5})
_RESULT_PARTS, _CALL_PARTS, _ERROR_PARTS = 3, 4, 5

_MASKED = frozenset(
    {
        "csr", "certificate", "certificatechain", "signingcertificate", "exirequest", "exiresponse", "certificates",
        "idtoken", "additionalidtoken", "idtag", "parentidtag", "emaid", "contractcertificate", "apnusername",
        "vin", "pcid", "evccid", "vehicleid",
    }
) | SECRET_FIELDS  # fmt: skip
_PERSONAL_SETTINGS = frozenset({"vehicleid", "vehiclecertificate"})
"""Of the car at the plug. Source: OCPP 2.x's component ConnectedEV."""
_MASKED_WHOLE = frozenset({"vpn", "apn"})
_OUTCOMES = frozenset({"status", "attributestatus"})
_ONE_TIME_ADDRESSES = frozenset({"remotelocation", "location"})
"""They carry a credential in their path: who knows the address may use it."""
_NESTED_TEXT = "data"
"""A DataTransfer's: JSON text within JSON text, or whatever a vendor likes."""
_USER_INFO = re.compile(r"(?<=://)[^/?#\s]+(?=@)")
_AFTER_HOST = re.compile(r"(?<=://)([^/?#\s]*)([/?#]\S*)")
_PEM = "-----BEGIN"

Direction = Literal["from-charger", "to-charger"]


class TraceOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written down: frames of one charger until then, and so many at most in each session."""

    trace_id: str
    until: datetime
    frames: int


class TracedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One frame as it is shown. `text` is its payload, redacted and cut; `chars` how long the frame was on the wire."""

    trace_id: str
    at: datetime
    session_id: str
    direction: Direction
    kind: str
    """`call`, `result`, `error`, `send` or `unreadable`."""
    action: str | None
    message_id: str | None
    text: str
    chars: int
    is_cut: bool = False


class _OpenCall(msgspec.Struct, frozen=True):
    """A call whose answer is still to come. `is_secretive`: what it carried might be repeated in the answer."""

    action: str
    is_secretive: bool


class _Frame(msgspec.Struct, frozen=True):
    """A frame taken apart; of an unreadable one nothing is known."""

    kind: str = "unreadable"
    message_id: str | None = None
    action: str | None = None
    payload: Any = None


_UNREADABLE = _Frame()


class FrameTrace:
    """The trace of one session while it lasts; knows the open calls, so that an answer is shown with its action."""

    __slots__ = ("_left", "_open", "_session_id", "order")

    def __init__(self, order: TraceOrder, session_id: str) -> None:
        self.order = order
        self._session_id = session_id
        self._left = order.frames
        self._open: dict[str, _OpenCall] = {}

    def take(self, direction: Direction, data: bytes, now: datetime) -> TracedFrame | None:
        """The frame as it may be shown, or None when the trace has ended."""
        if self._left <= 0 or now >= self.order.until:
            return None
        self._left -= 1
        frame = _read(data)
        action = frame.action
        if frame.kind == "unreadable":
            text = masked(len(data))
        elif frame.kind in ("result", "error"):
            # an answer travels the other way than its call
            call = self._open.pop(f"{_other(direction)} {frame.message_id}", None)
            action = call.action if call is not None else None
            # of a call that was not seen nobody knows what it carried
            text = _text(frame.payload, is_secretive=call is None or call.is_secretive)
        else:
            text = _text(frame.payload)
            if frame.kind == "call" and action is not None and len(self._open) < _OPEN_CALLS_MAX:
                call = _OpenCall(action, _carries_secret(frame.payload))
                self._open[f"{direction} {frame.message_id}"] = call
        return TracedFrame(
            trace_id=self.order.trace_id,
            at=now,
            session_id=self._session_id,
            direction=direction,
            kind=frame.kind,
            action=action,
            message_id=frame.message_id,
            text=text[:TEXT_MAX_CHARS],
            chars=len(data),
            is_cut=len(text) > TEXT_MAX_CHARS,
        )


def _other(direction: Direction) -> Direction:
    return "to-charger" if direction == "from-charger" else "from-charger"


def _read(data: bytes) -> _Frame:
    if len(data) > _FRAME_MAX_BYTES:
        return _UNREADABLE
    try:
        frame = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _UNREADABLE
    if (
        not isinstance(frame, list)
        or len(frame) < _RESULT_PARTS
        or not isinstance(frame[0], int)
        or not isinstance(frame[1], str)
    ):
        return _UNREADABLE
    message_id, kind = frame[1][:64], frame[0]
    if kind in _CALLS and len(frame) == _CALL_PARTS and isinstance(frame[2], str):
        return _Frame("call" if kind == _CALL else "send", message_id, frame[2][:64], frame[3])
    if kind == _RESULT and len(frame) == _RESULT_PARTS:
        return _Frame("result", message_id, payload=frame[2])
    if kind in _ERRORS and len(frame) == _ERROR_PARTS:
        return _Frame("error", message_id, payload=frame[2:])
    return _UNREADABLE


def _carries_secret(payload: Any) -> bool:
    return next(secrets_in(payload), None) is not None or _has_one_time_address(payload)


def _has_one_time_address(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_has_one_time_address, value))
    if not isinstance(value, dict):
        return False
    return any(
        name.lower() in _ONE_TIME_ADDRESSES or _has_one_time_address(part) for name, part in value.items()
    )


def _text(payload: Any, *, is_secretive: bool = False) -> str:
    if is_secretive and isinstance(payload, list):
        payload = [payload[0], *(redacted(part, whole=True) for part in payload[1:])]  # an error's code stays
    elif is_secretive:
        payload = _outcome_only(payload)
    return msgspec.json.encode(redacted(payload)).decode()


def _outcome_only(value: Any, name: str = "") -> Any:
    """How a call ended, and of everything else in its answer only how long it is."""
    if isinstance(value, dict):
        return {key: _outcome_only(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [_outcome_only(part, name) for part in value]
    return redacted(value, whole=name.lower() not in _OUTCOMES)


def masked(chars: int) -> str:
    """What stands in place of something that is not shown."""
    return f"***({chars} chars)"


def redacted(value: Any, name: str = "", *, whole: bool = False) -> Any:
    """A payload with everything secret masked; `name` is the field it stands under, `whole` masks every text in it."""
    if isinstance(value, dict):
        within = whole or name.lower() in _MASKED_WHOLE
        setting = setting_name(value)
        hidden = is_secret_setting(setting) or (
            isinstance(setting, str) and setting.lower() in _PERSONAL_SETTINGS
        )
        return {
            key: _hidden(part) if hidden and not is_plain(key) else redacted(part, key, whole=within)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [redacted(part, name, whole=whole) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if whole or name.lower() in _MASKED:
        return _hidden(value)
    return _redacted_text(value, name) if isinstance(value, str) else value


def _hidden(value: Any) -> str:
    return masked(len(value if isinstance(value, str) else msgspec.json.encode(value)))


def _redacted_text(text: str, name: str) -> str:
    if _PEM in text and name != _NESTED_TEXT:
        return masked(len(text))
    if name == _NESTED_TEXT:
        try:
            nested = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return masked(len(text))
        return _text(nested) if isinstance(nested, dict | list) else masked(len(text))
    text = _USER_INFO.sub(lambda found: masked(len(found[0])), text)
    if name.lower() in _ONE_TIME_ADDRESSES:
        text = _AFTER_HOST.sub(lambda found: f"{found[1]}/{masked(len(found[2]))}", text)
    return without_identifiers(text)
