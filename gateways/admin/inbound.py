"""From bytes and query strings to typed values, every fault named by its field."""

import re
from datetime import UTC, datetime
from functools import cache
from typing import Any, get_args

import msgspec
from aiohttp import web

from gateways.admin.problem import Problem

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?P<what>contains unknown|missing required) field `(?P<field>[^`]*)`$")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DEEPEST = 8


def media_type_problem(request: web.Request) -> Problem | None:
    """A body must say that it is JSON."""
    if request.content_type == "application/json":
        return None
    return Problem(415, "unsupported-media-type", "send the body as Content-Type: application/json")


def json_value(raw: bytes) -> Any:
    """The body as plain values, free of NUL characters. Raises Problem."""
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise Problem(400, "malformed-json", "the body is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Problem(400, "malformed-json", f"the body is not JSON: {error}") from None
    _check_texts(value, "", 0)
    return value


def body_of(value: Any, kind: type) -> Any:
    """The body as its struct. Raises Problem."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _named(error, whole="body") from None


def query_of(request: web.Request, kind: type) -> Any:
    """The query string as its struct; an unknown or repeated parameter is refused. Raises Problem."""
    query = request.query
    values: dict[str, str | int | bool] = {}
    kinds = _kinds(kind)
    for name, text in query.items():
        if name in values:
            raise Problem.of_field(name, "is given twice")
        if not is_clean(text) or not is_clean(name):
            raise Problem.of_field(name, "must not contain NUL characters or broken UTF-8")
        values[name] = _read(text, kinds.get(name, str))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _named(error, whole="query") from None


@cache
def _kinds(kind: type) -> dict[str, type]:
    """Which parameters are numbers or truth values; every other stays a text."""
    found: dict[str, type] = {}
    for parameter in msgspec.structs.fields(kind):
        choices = [parameter.type]
        for choice in choices:  # a union of annotated types is two levels deep
            choices += get_args(choice)
            if choice in (int, bool):
                found[parameter.name] = choice
    return found


def _read(text: str, kind: type) -> str | int | bool:
    """Only the spellings that JSON has; anything else is left as text, and refused as one."""
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and _INTEGER.fullmatch(text):
        return int(text)
    return text


def no_query(request: web.Request) -> None:
    """For routes without parameters. Raises Problem."""
    for name in request.query:
        raise Problem.of_field(name, "is not a parameter of this request")


def given(query: msgspec.Struct) -> dict[str, Any]:
    """The parameters that were sent, by name."""
    return {
        name: value
        for name in query.__struct_fields__
        if (value := getattr(query, name)) is not msgspec.UNSET
    }


def is_clean(text: str) -> bool:
    """Whether a text can be stored and shown: no NUL, no half of a surrogate pair, no replacement for broken UTF-8."""
    return "\x00" not in text and "\ufffd" not in text and not _SURROGATE.search(text)


def _check_texts(value: Any, where: str, depth: int) -> None:
    """Refuses the first text with a NUL, and what is nested deeper than any body of ours. Raises Problem."""
    if depth > _DEEPEST:
        raise Problem(400, "malformed-json", "the body is nested too deeply")
    if isinstance(value, str):
        if "\x00" in value:
            raise Problem.of_field(where or "body", "must not contain NUL characters")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_texts(part, f"{where}[{index}]", depth + 1)
    elif isinstance(value, dict):
        for name, part in value.items():
            _check_texts(name, where, depth + 1)
            _check_texts(part, f"{where}.{name}" if where else name, depth + 1)


def _named(error: msgspec.ValidationError, *, whole: str) -> Problem:
    """msgspec says what and where in one text; the field's name is taken out of it."""
    found = _AT.match(str(error))
    assert found is not None
    what, where = found["what"], (found["where"] or "").removeprefix("$").removeprefix(".")
    named = _NAMED.match(what)
    if named is None:
        return Problem.of_field(where or whole, _plain(what))
    field = f"{where}.{named['field']}" if where else named["field"]
    if named["what"] == "missing required":
        return Problem.of_field(field, "is required", "missing-field")
    return Problem.of_field(field, "is not known here", "unknown-field")


def _plain(what: str) -> str:
    return what[:1].lower() + what[1:]


def ocpp_time(at: datetime | None) -> str | None:
    """A time as OCPP writes it: UTC, with milliseconds."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
