"""A fleet's file of chargers, CSV or JSON lines, read into rows; what is wrong with one is said by line and field.

CSV has a head line of field names, commas or semicolons between them, and several OCPP versions in one cell with spaces. An
empty cell is a field left out.
"""

import csv
from collections.abc import Iterator
from typing import Any

import msgspec

from bfactors.identity import charger_id_problem, serial_number_problem
from gateways.admin.charger import RegisterChargerBody
from gateways.admin.inbound import body_of, json_value
from gateways.admin.problem import FieldProblem, Problem

CSV = "text/csv"
JSON_LINES = "application/x-ndjson"
MAX_BYTES = 4 * 1024 * 1024
MAX_ROWS = 10_000
_NUMBERS = frozenset({"security_profile", "target_security_profile"})
_LISTS = frozenset({"ocpp_versions"})
_FIELDS = frozenset(field.name for field in msgspec.structs.fields(RegisterChargerBody))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line: the charger it describes, or what is wrong with it."""

    line: int
    charger_id: str
    body: RegisterChargerBody | None
    errors: tuple[FieldProblem, ...] = ()


def rows_of(content: bytes, media_type: str) -> list[Row]:
    """Every row, in order. Raises Problem for what is no such file, or too long."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Problem(422, "malformed-file", "the file is not UTF-8") from None
    values = _csv_values(text) if media_type == CSV else _json_values(text)
    rows: list[Row] = []
    seen: dict[tuple[str, str], int] = {}
    for line, value in values:
        if len(rows) == MAX_ROWS:
            raise Problem(413, "file-too-long", f"more than {MAX_ROWS} rows: cut the file into several")
        rows.append(_row(line, value, seen))
    if not rows:
        raise Problem(422, "malformed-file", "the file holds no charger")
    return rows


def _csv_values(text: str) -> Iterator[tuple[int, Any]]:
    lines = text.splitlines(keepends=True)
    head = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if ";" in head and "," not in head else ",", strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        unknown = sorted({name for name in names if name not in _FIELDS})
        if unknown or len(set(names)) != len(names):
            what = f"unknown: {', '.join(unknown)[:200]}" if unknown else "a name stands there twice"
            message = f"the first line must name fields; {what}; there are: {', '.join(sorted(_FIELDS))}"
            raise Problem(422, "malformed-file", message)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                yield reader.line_num, f"has {len(cells)} cells, the first line {len(names)}"
                continue
            named = zip(names, (cell.strip() for cell in cells), strict=True)
            yield reader.line_num, {name: _cell(name, cell) for name, cell in named if cell}
    except csv.Error as problem:
        raise Problem(422, "malformed-file", f"line {reader.line_num}: {problem}") from None


def _cell(name: str, cell: str) -> Any:
    if name in _LISTS:
        return cell.split()
    return int(cell) if name in _NUMBERS and cell.isascii() and cell.isdecimal() and len(cell) < 4 else cell


def _json_values(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json_value(line.encode())
        except Problem as problem:
            yield number, problem.detail


def _row(line: int, value: Any, seen: dict[tuple[str, str], int]) -> Row:
    named = value.get("charger_id") if isinstance(value, dict) else None
    charger_id = named if isinstance(named, str) else ""
    if isinstance(value, str):  # not even a row
        return Row(line=line, charger_id="", body=None, errors=(FieldProblem("row", value),))
    try:
        body: RegisterChargerBody = body_of(value, RegisterChargerBody)
    except Problem as problem:
        return Row(line=line, charger_id=charger_id, body=None, errors=problem.errors)
    errors = [
        FieldProblem(name, message)
        for name, message in (
            ("charger_id", charger_id_problem(body.charger_id)),
            ("serial_number", serial_number_problem(body.serial_number)),
        )
        if message is not None
    ]
    for name in ("charger_id", "serial_number"):
        first = seen.setdefault((name, getattr(body, name)), line)
        if first != line:
            errors.append(FieldProblem(name, f"stands in line {first} too"))
    return Row(line=line, charger_id=charger_id, body=None if errors else body, errors=tuple(errors))
