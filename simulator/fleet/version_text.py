"""A mix of OCPP versions as it is written on the command line: `2.0.1=50,1.6=40,2.1=10`."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.charger import OcppVersion


def parse_versions(text: str) -> Mapping[OcppVersion, int]:
    """Parts by version; a version alone is one part.

    Raises: ValueError, with a sentence for whoever typed it.
    """
    parts: dict[OcppVersion, int] = {}
    for each in text.split(","):
        name, _, number = each.strip().partition("=")
        if name not in set(OcppVersion):
            raise ValueError(f"{name!r} is no OCPP version; there are {', '.join(OcppVersion)}")
        if number and not number.isdecimal():
            raise ValueError(f"{each!r} is not VERSION=PARTS")
        parts[OcppVersion(name)] = int(number or 1)
    if not sum(parts.values()):
        raise ValueError(f"{text!r} leaves no chargers")
    return parts
