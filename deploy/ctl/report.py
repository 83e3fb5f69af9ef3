"""What the tool prints: lines no wider than the terminal, whatever names the fleet uses."""

import textwrap
from collections.abc import Sequence
from typing import Literal

import msgspec

COLUMNS = 80
"""Where there is no terminal."""
LEAST_COLUMNS = 40
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


def step_lines(step: Step, columns: int = COLUMNS) -> list[str]:
    """Outcome, step and why; the reason goes on below itself."""
    head = f"{step.outcome:<{_OUTCOME_CHARS}} {step.step:<{_STEP_CHARS}} "
    return wrapped(head, step.detail, columns)


def wrapped(head: str, text: str, columns: int = COLUMNS) -> list[str]:
    """`text` behind `head`, and under its own beginning where it needs more lines."""
    head = printable(head)
    indent = min(len(head), columns // 2)
    if len(head) > columns - 10:
        return [*wrapped("", head, columns), *(wrapped(" " * 4, text, columns) if text else [])]
    lines = textwrap.wrap(
        printable(text),
        columns,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
    )
    return [line.rstrip() for line in lines] or [head.rstrip()]


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: int = COLUMNS,
    whole: frozenset[int] = frozenset(),
) -> list[str]:
    """Columns as wide as they need to be; if that is too wide, the widest give way, those in `whole` last."""
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    room = columns - _GAP * (len(heads) - 1)
    while sum(widths) > room:
        giving = [at for at in range(len(widths)) if at not in whole and widths[at] > len(heads[at])]
        giving = giving or [at for at in range(len(widths)) if widths[at] > 1]
        widths[max(giving, key=lambda at: widths[at])] -= 1
    return [
        (" " * _GAP).join(_fitted(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _fitted(text: str, width: int) -> str:
    return f"{text:<{width}}" if len(text) <= width else f"{text[: width - 1]}~"
