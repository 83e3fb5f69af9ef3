"""What is written of an event: all of it, but never what a key could be guessed against."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from bfactors import event as e
from bfactors.admission import KeyVerifier

KEY = KeyVerifier(generation=1, pepper_id="p", verifier="f00d" * 16, state="active")


def fields_with_a_key(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Those that hold verifiers, each with one."""
    hints = get_type_hints(kind)
    many = {name for name, hint in hints.items() if KeyVerifier in get_args(hint) and ... in get_args(hint)}
    one = {name for name, hint in hints.items() if KeyVerifier in get_args(hint)} - many
    return {**dict.fromkeys(one, KEY), **dict.fromkeys(many, (KEY, KEY))}


KINDS = [kind for kind in get_args(e.Event) if fields_with_a_key(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_is_written_with_the_verifiers_it_holds(kind: type[msgspec.Struct]) -> None:
    keys = fields_with_a_key(kind)
    event = kind(**{name: "" for name in kind.__struct_fields__ if name not in keys}, **keys)
    written = e.payload_of(event)
    assert KEY.verifier not in written
    count = sum(len(value) if isinstance(value, tuple) else 1 for value in keys.values())
    assert written.count('"verifier":"***"') == count


def test_the_events_with_keys_are_those_known_to_have_them() -> None:
    assert {kind.__name__ for kind in KINDS} >= {
        "ChargerRegistered",
        "ChargerReplaced",
        "AuthorizationKeyPrepared",
    }
