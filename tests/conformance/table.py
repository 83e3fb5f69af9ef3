"""docs/conformance.md out of the tests themselves: `python -m tests.conformance.table > docs/conformance.md`.

A case is in a test's name (`test_TC_A_09_...`, `test_TC_073_...`), what we do in the first line of its docstring, and what is
open in the reason of its xfail.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
_CASE = re.compile(r"test_tc_([a-z]_\d+|\d{3}(?:_\d(?!\d))?)_(.+)", re.IGNORECASE)
_ALSO = re.compile(r"and_tc_(\d{3})_(.+)", re.IGNORECASE)
_CONSEQUENCE = "test_consequence_"

CASES = (
    "A_01", "A_02", "A_03", "A_04", "A_06", "A_07", "A_08", "A_09", "A_10", "A_11", "A_12", "A_13", "A_14", "A_19",
    "B_58", "M_01", "M_02", "M_03", "M_04", "M_05", "M_12", "M_13", "M_14", "M_15", "M_16", "M_17", "M_18", "M_19",
    "M_20", "M_21", "M_24", "M_26", "M_28", "N_25", "N_34", "N_35", "N_36",
    "073", "074", "075_1", "075_2", "076", "077", "078", "079", "080", "081", "083", "085", "086", "087", "088",
)  # fmt: skip
"""The cases of a central system's security, of OCPP 2.0.1 (part 6, errata 2025-09) and of OCPP 1.6 (whitepaper)."""

_PREAMBLE = """# Conformance

What OCPP's compliance tests (OCTT) ask of a central system's security, case by case, and what this one does. Every row is a
test in `tests/conformance/`, driven over real sockets and TLS by a client that shares no code with the product. This page is
made from those tests (`python -m tests.conformance.table > docs/conformance.md`); a test keeps it current.

*passes*: the test holds. *open*: the test is there and known to fail, for the reason given; it becomes an error the day it
passes. OCPP 2.1 has no published cases of its own: those of 2.0.1 that apply to it are gone through in both versions.
"""


class Row(NamedTuple):
    """One test of one case."""

    case: str
    versions: str
    status: str
    title: str
    deed: str


def rows() -> list[Row]:
    """Every test of a case, in the order of CASES and of the files."""
    found = [row for path in sorted(FOLDER.glob("test_*.py")) for row in _rows_of(path)]
    return sorted(found, key=lambda row: CASES.index(row.case))


def missing() -> list[str]:
    """Cases no test is named after."""
    tested = {row.case for row in rows()}
    return [case for case in CASES if case not in tested]


def consequences() -> list[tuple[str, str, str]]:
    """(versions, status, what holds) of what follows from the requirements beyond the cases."""
    return [
        (
            _versions(test, "1.6" if path.stem.endswith("_16") else "2.0.1"),
            _status(test, names),
            test.name.removeprefix("test_").replace("_", " "),
        )
        for path in sorted(FOLDER.glob(f"{_CONSEQUENCE}*.py"))
        for test, names in _tests_of(path)
    ]


def page() -> str:
    """The text of docs/conformance.md."""
    lines = [_PREAMBLE, "| case | version | status | title | what we do |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| TC_{row.case}_CSMS | {row.versions} | {row.status} | {row.title} | {row.deed} |" for row in rows()
    ]
    lines += ["", "## Beyond the cases", "", "| version | status | what holds |", "| --- | --- | --- |"]
    lines += [f"| {versions} | {status} | {what} |" for versions, status, what in consequences()]
    return "\n".join(lines) + "\n"


def _rows_of(path: Path) -> Iterator[Row]:
    for test, names in _tests_of(path):
        cases, title = _cases_of(test.name)
        for case in cases:
            versions = _versions(test, "2.0.1" if case[0].isalpha() else "1.6")
            yield Row(case, versions, _status(test, names), title, _deed(test))


def _tests_of(path: Path) -> Iterator[tuple[ast.AsyncFunctionDef | ast.FunctionDef, dict[str, str]]]:
    tree = ast.parse(path.read_text())
    names = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
            yield node, names


def _cases_of(name: str) -> tuple[list[str], str]:
    """The cases in a test's name, and the rest of it as words."""
    cases: list[str] = []
    found = _CASE.fullmatch(name)
    rest = ""
    while found is not None:
        cases.append(found[1].upper())
        rest = found[2]
        found = _ALSO.fullmatch(rest)
    return cases, rest.replace("_", " ")


def _versions(test: ast.AsyncFunctionDef | ast.FunctionDef, otherwise: str) -> str:
    both = any(isinstance(mark, ast.Name) and mark.id == "IN_BOTH_VERSIONS" for mark in test.decorator_list)
    newest = any(isinstance(mark, ast.Name) and mark.id == "IN_21" for mark in test.decorator_list)
    return "2.0.1, 2.1" if both else "2.1" if newest else otherwise


def _status(test: ast.AsyncFunctionDef | ast.FunctionDef, names: dict[str, str]) -> str:
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "xfail":
            [reason] = [keyword.value for keyword in mark.keywords if keyword.arg == "reason"]
            said = names[reason.id] if isinstance(reason, ast.Name) else ast.literal_eval(reason)
            return f"open: {said}"
    return "passes"


def _deed(test: ast.AsyncFunctionDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(test) or "As the case says.").splitlines()[0].replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
