"""Values of the API as short texts: times to the minute or day, an absent one as a dash."""

from collections.abc import Mapping
from typing import Any

_FINGERPRINT_CHARS = 16


def text(value: Any) -> str:
    """Lists with commas, yes and no, and a dash for nothing."""
    if value is None or value == "" or value == [] or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value)


def day(moment: Any) -> str:
    """A date in UTC."""
    return str(moment)[:10] if moment else "-"


def minute(moment: Any) -> str:
    """A time in UTC, to the minute."""
    return str(moment)[:16].replace("T", " ") if moment else "-"


def second(moment: Any) -> str:
    """A time in UTC, to the second."""
    return str(moment)[:19].replace("T", " ") if moment else "-"


def fingerprint(value: Any) -> str:
    """Enough of a fingerprint to tell it from another."""
    return str(value)[:_FINGERPRINT_CHARS] if value else "-"


def reason(value: Mapping[str, Any] | None) -> str:
    """A code and its words."""
    if value is None:
        return ""
    return f"{value['code']}: {value['message']}" if value.get("message") else str(value["code"])


def facts(capabilities: Mapping[str, Any]) -> str:
    """What differs from a charger that follows the specification."""
    return ", ".join(
        name if value is True else f"{name} {text(value)}"
        for name, value in capabilities.items()
        if value not in (None, False, [], ())
    )
