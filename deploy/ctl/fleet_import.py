"""A fleet's chargers from a file: looked at first, registered with `--yes`, their keys told once."""

import os
from pathlib import Path

from bfactors.errors import SettingsError
from deploy.ctl.client import Body
from deploy.ctl.command import Command, Desk, Given, Thing, option, word
from deploy.ctl.follow import KEY, key_of

THING = Thing("import", "register a fleet's chargers from a CSV or JSON-lines file")
PATH = "/api/v1/imports"
_MEDIA_TYPES = {".csv": "text/csv", ".jsonl": "application/x-ndjson", ".ndjson": "application/x-ndjson"}
_ERRORS_SHOWN = 50
_PROGRESS_ROWS = 250
"""Where no line can be written over, progress is told so often."""
_KEY_FILE_HEAD = "charger_id,authorization_key\n"


async def _import(desk: Desk, given: Given) -> int:
    media_type = _MEDIA_TYPES.get(given.file.suffix.lower())
    if media_type is None:
        raise SettingsError(f"the file's name must end with one of {', '.join(sorted(_MEDIA_TYPES))}")
    try:
        content = given.file.read_bytes()
    except OSError as problem:
        raise SettingsError(f"{given.file} cannot be read: {problem}") from problem
    keys = _opened(given.keys_file) if given.yes and given.keys_file is not None else None
    rows: list[Body] = []
    summary: Body = {}
    try:
        query = {"dry_run": "false" if given.yes else "true"}
        async for told in desk.client.lines(PATH, query, content, media_type, key_of(given)):
            if "summary" in told:
                summary = told["summary"]
                continue
            rows.append(told)
            if keys is not None and "authorization_key" in told:
                # before the next row: what is lost here can be had from nowhere
                os.write(keys, f"{_cell(told['charger_id'])},{told['authorization_key']}\n".encode())
            if desk.paper.is_live or len(rows) % _PROGRESS_ROWS == 0:
                desk.paper.progress(f"{told['outcome']}: {len(rows)} rows")
    finally:
        desk.paper.done()
        if keys is not None:
            os.close(keys)
        if rows or summary:  # else it was refused as a whole
            _tell(desk, given, rows, summary)
    if not summary:
        desk.paper.complain("the answer ended early. The same command again goes on where it stopped")
        return 1
    return 1 if summary["error"] else 0


def _opened(path: Path) -> int:
    """A new file that nobody else may read. Raises SettingsError."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise SettingsError(f"{path} cannot be made: {problem}") from problem
    os.write(file, _KEY_FILE_HEAD.encode())
    return file


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',";\n') else text


def _tell(desk: Desk, given: Given, rows: list[Body], summary: Body) -> None:
    desk.paper.document({"summary": summary, "rows": rows})
    errors = [(row, error) for row in rows for error in row.get("errors", ())]
    if errors:
        shown = [
            (str(row["line"]), row["charger_id"] or "-", error["field"], error["message"])
            for row, error in errors[:_ERRORS_SHOWN]
        ]
        desk.paper.table(("line", "charger", "field", "what is wrong"), shown, frozenset({0, 1}))
    if len(errors) > _ERRORS_SHOWN:
        desk.paper.line(f"and {len(errors) - _ERRORS_SHOWN} more; --json has them all")
    made = [row for row in rows if "authorization_key" in row]
    if made and given.keys_file is not None:
        desk.paper.line(f"{len(made)} AuthorizationKeys are in {given.keys_file}, and nowhere else")
    elif made:
        desk.paper.line("AuthorizationKeys, shown this once:")
        desk.paper.table(
            ("charger", "key"),
            [(row["charger_id"], row["authorization_key"]) for row in made],
            frozenset({0, 1}),
        )
    counts = [f"{count} {name.replace('_', '-')}" for name, count in summary.items() if _counts(name, count)]
    if summary:
        desk.paper.line(f"{summary['rows']} rows: {', '.join(counts)}")
        if summary["error"] and not summary["registered"]:
            desk.paper.line("nothing is registered while a row is wrong")
        elif summary["dry_run"]:
            desk.paper.line("nothing was done. The same command with --yes does it")


def _counts(name: str, count: object) -> bool:
    return name not in ("dry_run", "rows") and bool(count)


COMMANDS = (
    Command(
        thing=THING.name,
        action="",
        help="register a fleet's chargers from a file; shows what would happen, does it with --yes",
        example="import chargers.csv --yes --keys-file keys.csv",
        run=_import,
        arguments=(
            word("file", type=Path, help="ends with .csv, .jsonl or .ndjson"),
            option("--yes", action="store_true", help="register them"),
            option(
                "--keys-file", type=Path, metavar="FILE", help="a new file (0600) for the keys that are made"
            ),
            KEY,
        ),
        more="Columns are the fields of a registration: charger_id, serial_number, family, site, cohort, "
        "security_profile, and where wanted target_security_profile, ocpp_versions (with spaces "
        "between), organization, installer, expected_common_name, authorization_key, "
        "authorization_key_origin. Chargers that are there already stay as they are.",
    ),
)
