"""What the tool prints: lines of at most 80 columns, whatever names the fleet uses."""

import textwrap
from collections.abc import Sequence
from typing import Literal

import msgspec

COLUMNS = 80
_GAP = 2
_STEP_CHARS = 26
_OUTCOME_CHARS = 8
DETAIL_MAX_CHARS = 500

Outcome = Literal["passed", "failed", "skipped"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was tried with a charger, as the API takes it too."""

    step: str
    outcome: Outcome
    detail: str = ""


def printable(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    return "".join(mark if mark.isprintable() else "?" for mark in text)


def step_lines(step: Step) -> list[str]:
    """Outcome, step and why; the reason goes on below itself."""
    head = f"{step.outcome:<{_OUTCOME_CHARS}} {step.step:<{_STEP_CHARS}} "
    return wrapped(head, step.detail)


def wrapped(head: str, text: str) -> list[str]:
    """`text` behind `head`, and under its own beginning where it needs more lines."""
    lines = textwrap.wrap(
        printable(text),
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
    return [line.rstrip() for line in lines] or [head.rstrip()]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; if that is too wide, the widest give way."""
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    room = COLUMNS - _GAP * (len(heads) - 1)
    while sum(widths) > room:
        widths[widths.index(max(widths))] -= 1
    return [
        (" " * _GAP).join(_fitted(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _fitted(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else f"{text[: width - 1]}~"
