"""The product's own files, as text and as syntax trees."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("bfactors", "actors", "supervisors", "gateways", "persistence", "deploy", "simulator")


class Module(NamedTuple):
    """One file; `name` is its path from the root, e.g. `bfactors/x509.py`."""

    name: str
    text: str
    tree: ast.Module


@cache
def modules(*rooms: str) -> tuple[Module, ...]:
    """Every module of these rooms (all of the product without any)."""
    return tuple(_read(rooms or PRODUCT))


def _read(rooms: tuple[str, ...]) -> Iterator[Module]:
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            text = path.read_text()
            yield Module(path.relative_to(ROOT).as_posix(), text, ast.parse(text))
