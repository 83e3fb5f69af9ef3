"""A charger's frames written down on demand, for people: bounded in time and number, and without anything secret.

What cannot be read cannot be cleaned, so it is not shown at all. Masked are keys and passwords, identifications, CSRs and
certificates (their bulk hides the rest, and the inventory has them), EXI messages, and the credentials in addresses.
"""

import re
from datetime import datetime
from typing import Any, Literal

import msgspec

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
        "idtoken", "additionalidtoken", "idtag", "parentidtag", "emaid", "contractcertificate",
        "password", "basicauthpassword", "authorizationkey", "apnpassword", "apnusername", "simpin", "secret", "token",
    }
)  # fmt: skip
_MASKED_WHOLE = frozenset({"vpn", "apn"})
_KEY_SETTINGS = frozenset({"basicauthpassword", "authorizationkey"})
_ONE_TIME_ADDRESSES = frozenset({"remotelocation", "location"})
"""They carry a credential in their path: who knows the address may use it."""
_NESTED_TEXT = "data"
"""A DataTransfer's: JSON text within JSON text, or whatever a vendor likes."""
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+(?=@)")
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


class FrameTrace:
    """The trace of one session while it lasts; knows the open calls, so that an answer is shown with its action."""

    __slots__ = ("_actions", "_left", "_session_id", "order")

    def __init__(self, order: TraceOrder, session_id: str) -> None:
        self.order = order
        self._session_id = session_id
        self._left = order.frames
        self._actions: dict[str, str] = {}

    def take(self, direction: Direction, data: bytes, now: datetime) -> TracedFrame | None:
        """The frame as it may be shown, or None when the trace has ended."""
        if self._left <= 0 or now >= self.order.until:
            return None
        self._left -= 1
        kind, message_id, action, payload = _read(data)
        if message_id is not None:
            # an answer travels the other way than its call
            key = f"{direction if kind == 'call' else _other(direction)} {message_id}"
            if kind == "call" and action is not None and len(self._actions) < _OPEN_CALLS_MAX:
                self._actions[key] = action
            elif kind in ("result", "error"):
                action = self._actions.pop(key, None)
        return TracedFrame(
            trace_id=self.order.trace_id,
            at=now,
            session_id=self._session_id,
            direction=direction,
            kind=kind,
            action=action,
            message_id=message_id,
            text=payload[:TEXT_MAX_CHARS],
            chars=len(data),
            is_cut=len(payload) > TEXT_MAX_CHARS,
        )


def _other(direction: Direction) -> Direction:
    return "to-charger" if direction == "from-charger" else "from-charger"


def _read(data: bytes) -> tuple[str, str | None, str | None, str]:
    """Kind, message id, action and the redacted payload of a frame."""
    unreadable = ("unreadable", None, None, masked(len(data)))
    if len(data) > _FRAME_MAX_BYTES:
        return unreadable
    try:
        frame = msgspec.json.decode(data)
        if (
            not isinstance(frame, list)
            or len(frame) < _RESULT_PARTS
            or not isinstance(frame[0], int)
            or not isinstance(frame[1], str)
        ):
            return unreadable
        message_id, kind = frame[1][:64], frame[0]
        if kind in _CALLS and len(frame) == _CALL_PARTS and isinstance(frame[2], str):
            return ("call" if kind == _CALL else "send"), message_id, frame[2][:64], _text(frame[3])
        if kind == _RESULT and len(frame) == _RESULT_PARTS:
            return "result", message_id, None, _text(frame[2])
        if kind in _ERRORS and len(frame) == _ERROR_PARTS:
            return "error", message_id, None, _text(frame[2:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return unreadable
    return unreadable


def _text(payload: Any) -> str:
    return msgspec.json.encode(redacted(payload)).decode()


def masked(chars: int) -> str:
    """What stands in place of something that is not shown."""
    return f"***({chars} chars)"


def redacted(value: Any, name: str = "", *, whole: bool = False) -> Any:
    """A payload with everything secret masked; `name` is the field it stands under, `whole` masks every text in it."""
    if isinstance(value, dict):
        within = whole or name.lower() in _MASKED_WHOLE
        hidden = _is_key_setting(value)
        return {
            key: _hidden(part)
            if hidden and key in ("value", "attributeValue")
            else redacted(part, key, whole=within)
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


def _is_key_setting(value: dict[str, Any]) -> bool:
    variable = value.get("variable")
    named = variable.get("name") if isinstance(variable, dict) else value.get("key")
    return isinstance(named, str) and named.lower() in _KEY_SETTINGS


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
    return text
