"""What in OCPP payloads is nobody's to read, told by the names it stands under, and texts that repeat a secret.

Names are compared without regard to case, as OCPP compares them. The bulk that people are merely spared (CSRs, EXI) is
`bfactors.frame_trace`'s own affair.
"""

from collections.abc import Iterator
from typing import Any

from bfactors.disclosed import Disclosed

OWN_KEYS = frozenset({"basicauthpassword", "authorizationkey"})
"""The settings that hold the charger's key towards us."""
SECRET_FIELDS = frozenset(
    {"password", "basicauthpassword", "authorizationkey", "apnpassword", "simpin", "secret", "token"}
)
_SECRET_WITHIN: dict[str, frozenset[str]] = {"vpn": frozenset({"key"})}
"""Fields that are secret in one object only. Source: OCPP's VPNType."""
_TELLTALE = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "authorizationkey",
    "simpin",
    "vpnkey",
    "privatekey",
)
"""Of settings, those of vendors among them: NetworkConfiguration has ApnPassword, ApnSimPin, VpnPassword and VpnKey."""
_PLAIN = frozenset({"component", "variable", "key", "readonly", "attributestatus", "attributetype", "status"})
"""What else stands beside a setting's value, and says nothing of it."""

_LEAST_CHARS = 8
"""A shorter run of characters in common is chance."""
_STANDS_FOR_IT = "***"


def is_secret_setting(name: object) -> bool:
    """Whether a variable or configuration key holds a secret, by its name."""
    return isinstance(name, str) and any(mark in name.lower() for mark in _TELLTALE)


def setting_name(entry: dict[str, Any]) -> object:
    """The setting an object speaks of: a 2.x `variable`, or a 1.6 `key`; None if of none."""
    variable = entry.get("variable")
    return variable.get("name") if isinstance(variable, dict) else entry.get("key")


def is_plain(field: str) -> bool:
    """Whether a field beside a secret setting may be shown: whatever is not known to be harmless may hold its value."""
    return field.lower() in _PLAIN


def secrets_in(value: Any, within: str = "") -> Iterator[str]:
    """Where a payload holds a secret: the names of fields and settings."""
    if isinstance(value, list):
        for part in value:
            yield from secrets_in(part, within)
    if not isinstance(value, dict):
        return
    setting = setting_name(value)
    if is_secret_setting(setting) and not all(map(is_plain, value)):
        yield str(setting)
    for name, part in value.items():
        folded = name.lower()
        if folded in SECRET_FIELDS or folded in _SECRET_WITHIN.get(within, ()):
            yield name
        else:
            yield from secrets_in(part, folded)


def without(text: str, secret: Disclosed) -> str:
    """The text with every run of characters masked that the secret has too, in clear or in hex.

    A charger that refuses what it was sent may repeat it, and its words go on record.
    """
    runs = _runs_of(secret)
    folded = _folded(text)
    shown: list[str] = []
    hidden_until = 0
    for position, char in enumerate(text):
        if folded[position : position + _LEAST_CHARS] in runs:
            if position >= hidden_until:
                shown.append(_STANDS_FOR_IT)
            hidden_until = position + _LEAST_CHARS
        if position >= hidden_until:
            shown.append(char)
    return "".join(shown)


def _folded(text: str) -> str:
    """Without case, and as long as before."""
    return "".join(char.lower() if char.isascii() else char for char in text)


def _runs_of(secret: Disclosed) -> frozenset[str]:
    forms = (_folded(secret.value.decode("utf-8", "replace")), secret.value.hex())
    return frozenset(
        form[start : start + _LEAST_CHARS]
        for form in forms
        for start in range(max(0, len(form) - _LEAST_CHARS + 1))
    )
