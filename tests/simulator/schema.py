"""The official JSON schemas of all three versions, read as data, to judge what a charger says."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema_rs

_FOLDERS = {"ocpp1.6": "v16", "ocpp2.0.1": "v201", "ocpp2.1": "v21"}
ENVELOPE = "org.openchargealliance.iso15118pnc"


@cache
def _validator(subprotocol: str, name: str) -> Any:
    spec = find_spec("ocpp")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / _FOLDERS[subprotocol] / "schemas" / f"{name}.json"
    if not path.exists():
        return None
    return jsonschema_rs.validator_for(
        json.loads(path.read_bytes().decode("utf-8-sig")), validate_formats=True
    )


def violation(subprotocol: str, action: str, payload: Any, *, is_answer: bool, is_sent: bool = False) -> str:
    """The first thing wrong with a message, or nothing; `is_sent` is for 2.1's messages without an answer."""
    request = "" if subprotocol == "ocpp1.6" or is_sent else "Request"
    validator = _validator(subprotocol, f"{action}Response" if is_answer else f"{action}{request}")
    if validator is None:
        return f"{subprotocol} knows no {action}"
    for error in validator.iter_errors(payload):
        return f"{action}{' answer' if is_answer else ''}: {error.message} at {list(error.instance_path)}"
    is_envelope = subprotocol == "ocpp1.6" and action == "DataTransfer" and not is_answer
    if is_envelope and payload["vendorId"] == ENVELOPE:
        return violation("ocpp2.0.1", payload["messageId"], json.loads(payload["data"]), is_answer=False)
    return ""
