"""Where the tool writes: answers to standard output, progress and complaints to standard error, nothing too wide."""

import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import orjson

from deploy.ctl.report import COLUMNS, LEAST_COLUMNS, printable, table, wrapped


class Paper:
    """Tables and lines for people, or one JSON document. `live`: the progress line may be written over."""

    def __init__(self, out: TextIO, err: TextIO, *, columns: int, live: bool, as_json: bool) -> None:
        self._out = out
        self._err = err
        self.is_live = live
        self._progress = ""
        self.columns = columns
        self.as_json = as_json

    @classmethod
    def of_terminal(cls, *, as_json: bool) -> "Paper":
        return cls(
            sys.stdout, sys.stderr, columns=width_of(sys.stdout), live=sys.stderr.isatty(), as_json=as_json
        )

    def document(self, body: Any) -> None:
        """One JSON document, if that is what was asked for."""
        if self.as_json:
            self._out.write(orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n")
            self._out.flush()

    def json_line(self, body: Any) -> None:
        """One of many documents, each a line."""
        self._out.write(orjson.dumps(body).decode() + "\n")
        self._out.flush()

    def say(self, lines: Sequence[str]) -> None:
        """Part of the answer for people; nothing beside a JSON document."""
        if not self.as_json:
            self.done()
            self._out.write("".join(f"{line}\n" for line in lines))
            self._out.flush()

    def line(self, text: str, head: str = "") -> None:
        """One sentence of the answer."""
        self.say(wrapped(head, text, self.columns))

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], whole: frozenset[int] = frozenset({0})
    ) -> None:
        """The columns in `whole` hold what is copied into the next command, and are the last to be cut."""
        self.say(table(heads, rows, self.columns, whole))

    def tell(self, lines: Sequence[str]) -> None:
        """A step of long work: part of the answer, or beside the JSON document."""
        if not self.as_json:
            self.say(lines)
            return
        self._err.write("".join(f"{line}\n" for line in lines))
        self._err.flush()

    def complain(self, text: str) -> None:
        """To standard error, in full."""
        self.done()
        self._err.write("".join(f"{line}\n" for line in wrapped("run.py ctl: ", text, self.columns)))
        self._err.flush()

    def progress(self, text: str) -> None:
        """How far the work is: one line written over on a terminal, else a line whenever it changes."""
        shown = printable(text)[: self.columns - 1]
        if shown == self._progress:
            return
        if self.is_live:
            self._err.write(f"\r{shown:<{len(self._progress)}}")
        else:
            self._err.write(f"{shown}\n")
        self._progress = shown
        self._err.flush()

    def done(self) -> None:
        """Nothing more of what was in progress: clears its line."""
        if self.is_live and self._progress:
            self._err.write(f"\r{'':<{len(self._progress)}}\r")
            self._err.flush()
        self._progress = ""


def width_of(stream: TextIO) -> int:
    """The terminal's columns; 80 where the output goes elsewhere."""
    try:
        return (
            max(LEAST_COLUMNS, os.get_terminal_size(stream.fileno()).columns) if stream.isatty() else COLUMNS
        )
    except OSError:
        return COLUMNS


def asked(question: str) -> str | None:
    """What is typed in answer; None where no terminal is."""
    if not sys.stdin.isatty():
        return None
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
