"""The versions there are."""

from __future__ import annotations

from simulator.charger.configuration import OcppVersion
from simulator.charger.dialect import Dialect
from simulator.charger.v16 import V16
from simulator.charger.v21 import V21
from simulator.charger.v201 import V201

_DIALECTS: dict[OcppVersion, Dialect] = {each.version: each for each in (V16(), V201(), V21())}


def dialect_of(version: OcppVersion) -> Dialect:
    """How this version is spoken."""
    return _DIALECTS[version]
