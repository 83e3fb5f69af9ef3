"""Named SQL, kept in `persistence/sql/<topic>.sql` where an editor and a reviewer see it as SQL.

A file holds any number of queries, each under a line `-- name: <snake_case>`; comments before the first one are prose.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

_HEADING = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


@cache
def queries(topic: str) -> Mapping[str, str]:
    """The queries of one topic by name.

    Raises FileNotFoundError for an unknown topic, ValueError when two queries share a name.
    """
    text = files("persistence").joinpath("sql", f"{topic}.sql").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    found: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if name in found:
            raise ValueError(f"{topic}.sql names {name!r} twice")
        found[name] = body.strip().removesuffix(";")
    return MappingProxyType(found)
