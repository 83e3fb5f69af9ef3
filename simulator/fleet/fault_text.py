"""Faults as they are written on the command line: `INDEX:Name` or `INDEX:Name,argument,...`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum
from typing import Any, get_args, get_type_hints

from simulator.charger import Fault

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Fault)}


def parse_faults(texts: Iterable[str]) -> dict[int, tuple[Fault, ...]]:
    """Faults by charger index; one index may be named several times.

    Raises: ValueError, with a sentence for whoever typed it.
    """
    faults: dict[int, tuple[Fault, ...]] = {}
    for text in texts:
        index, colon, spec = text.partition(":")
        if not colon or not index.isdecimal():
            raise ValueError(f"{text!r} is not INDEX:Fault")
        faults[int(index)] = (*faults.get(int(index), ()), _fault(spec))
    return faults


def _fault(spec: str) -> Fault:
    name, *arguments = spec.split(",")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"{name!r} is no fault; there are {', '.join(sorted(_KINDS))}")
    fields = dataclasses.fields(kind)
    needed = sum(each.default is dataclasses.MISSING for each in fields)
    if not needed <= len(arguments) <= len(fields):
        names = ", ".join(each.name for each in fields) or "nothing"
        raise ValueError(f"{name} takes {names}")
    hints = get_type_hints(kind)
    fault: Fault = kind(
        *(_value(hints[each.name], text) for each, text in zip(fields, arguments, strict=False))
    )
    return fault


def _value(hint: object, text: str) -> object:
    if hint is timedelta:
        return timedelta(seconds=float(text))
    if hint is int or hint == int | None:
        return int(text)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(text)
    if hint == tuple[str | bytes, ...]:
        return (text,)
    return text
