"""The official JSON schemas of one OCPP version, compiled once, and what a violation is called on the wire.

Source: the schemas shipped in the `ocpp` package; OCPP 2.0.1 part 4 section 4.3 for the codes.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import jsonschema_rs
import orjson

_CODE_OF_KEYWORD = {
    "required": "OccurrenceConstraintViolation",
    "minItems": "OccurrenceConstraintViolation",
    "maxItems": "OccurrenceConstraintViolation",
    "type": "TypeConstraintViolation",
    "maxLength": "PropertyConstraintViolation",
    "minLength": "PropertyConstraintViolation",
    "enum": "PropertyConstraintViolation",
    "minimum": "PropertyConstraintViolation",
    "maximum": "PropertyConstraintViolation",
    "additionalProperties": "FormatViolation",
    "format": "FormatViolation",
}
_RANK = (
    "OccurrenceConstraintViolation",
    "TypeConstraintViolation",
    "PropertyConstraintViolation",
    "FormatViolation",
)
_RESPONSE = "Response"


class SchemaSet:
    """Validators of one version by action. Reading and compiling 2.0.1's 128 schemas takes some 50 ms."""

    def __init__(
        self,
        package: str,
        *,
        request: str = "Request",
        sends: frozenset[str] = frozenset(),
        formats: Mapping[str, Callable[[str], bool]] | None = None,
    ) -> None:
        """`package` holds a folder `schemas`, e.g. `ocpp.v201`; `request` ends the names of its requests' files.

        `sends` are the actions that are sent and never answered (2.1), `formats` checks text that JSON Schema is too strict
        about. Raises ModuleNotFoundError.
        """
        folder = resources.files(importlib.import_module(package)) / "schemas"
        self._requests: dict[str, jsonschema_rs.Validator] = {}
        self._responses: dict[str, jsonschema_rs.Validator] = {}
        self._sends: dict[str, jsonschema_rs.Validator] = {}
        for entry in folder.iterdir():
            name = entry.name.removesuffix(".json")
            ending, table = (
                (_RESPONSE, self._responses) if name.endswith(_RESPONSE) else (request, self._requests)
            )
            if name in sends:
                ending, table = "", self._sends
            if name.endswith(ending):
                # Some of the files begin with a byte order mark.
                schema = orjson.loads(entry.read_bytes().removeprefix(b"\xef\xbb\xbf"))
                table[name.removesuffix(ending)] = jsonschema_rs.validator_for(
                    schema, validate_formats=True, formats=dict(formats or {})
                )

    def knows(self, action: str) -> bool:
        """Whether the version has this action, in either direction."""
        return action in self._requests

    @property
    def has_sends(self) -> bool:
        """Whether the version has the frames of 2.1: SEND, and CALLRESULTERROR that came with it."""
        return bool(self._sends)

    def send_violation(self, action: str, payload: dict[str, Any]) -> tuple[str, str] | None:
        """(code, description) of what is wrong with a message that is never answered, or None."""
        validator = self._sends.get(action)
        if validator is None:
            return "NotImplemented", "unknown action"
        return None if validator.is_valid(payload) else _violation(validator, payload)

    def request_violation(self, action: str, payload: dict[str, Any]) -> tuple[str, str] | None:
        """(code, description) of what is wrong with a request, or None. Raises KeyError for an unknown action."""
        validator = self._requests[action]
        return None if validator.is_valid(payload) else _violation(validator, payload)

    def response_violation(self, action: str, payload: dict[str, Any]) -> tuple[str, str] | None:
        """(code, description) of what is wrong with a response, or None. Raises KeyError for an unknown action."""
        validator = self._responses[action]
        return None if validator.is_valid(payload) else _violation(validator, payload)


def _violation(validator: jsonschema_rs.Validator, payload: dict[str, Any]) -> tuple[str, str]:
    """The gravest violation: where and which keyword, never the value, which may be a key or a CSR."""
    found = [
        (_CODE_OF_KEYWORD.get(error.kind.name, "FormatViolation"), error)
        for error in validator.iter_errors(payload)
    ]
    code, error = min(found, key=lambda pair: _RANK.index(pair[0]))
    place = "/".join(str(part) for part in error.instance_path)
    if error.kind.name == "required":
        place = f"{place}/{error.kind.value}" if place else str(error.kind.value)
    return code, f"{error.kind.name} violated at {place or 'the payload'}"
