"""A fleet's chargers taken in from a file: looked at whole first, then registered one by one by the ordinary command."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec
from aiohttp import web

from bfactors.errors import Unavailable
from bfactors.ports import Clock
from bfactors.reach import other_cohort
from gateways.admin.charger import Chargers, RegisterChargerBody
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.idempotency import HEADER, repetition
from gateways.admin.import_file import CSV, JSON_LINES, MAX_BYTES, Row, rows_of
from gateways.admin.problem import FieldProblem, Problem
from gateways.admin.route import Call, Route

WITHIN_S = 60.0
"""How long the file may take to arrive."""
WRITE_WITHIN_S = 30.0
AT_ONCE = 32
"""Rows under way at the same time."""
_SAME = ("serial_number", "family", "site", "cohort")
"""What makes a charger of the inventory the one of the row; all else moves on after the first import."""

Outcome = Literal["would-register", "registered", "unchanged", "error", "not-done"]


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one row. `authorization_key`: made for it, and in this one answer only."""

    line: int
    charger_id: str
    outcome: Outcome
    authorization_key: str | None = None
    errors: tuple[FieldProblem, ...] = ()


class ImportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing is registered unless `dry_run` is false."""

    dry_run: bool = True


class Imports:
    """`/api/v1/imports`."""

    def __init__(self, dependencies: AdminDependencies, chargers: Chargers) -> None:
        self._reader = dependencies.reader
        self._keys = dependencies.keys
        self._clock: Clock = dependencies.clock
        self._chargers = chargers

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/imports",
                operation="imports.run",
                summary="Register the chargers of a CSV or JSON-lines file; looks only, unless `dry_run=false`",
                description="The columns are the fields of `POST /api/v1/chargers`. Each line of the answer is one row: "
                "`line, charger_id, outcome` (would-register, registered, unchanged, error, not-done), `errors` by field, and "
                "`authorization_key`, shown once; the last has the `summary`. While any row is wrong nothing is registered. "
                "A charger that is there already stays as it is, so that the same file again changes nothing.",
                handler=self.run,
                query=ImportQuery,
                answer=str,
                content_type=JSON_LINES,
                accepts=(CSV, JSON_LINES),
            ),
        )

    async def run(self, call: Call, query: ImportQuery) -> web.StreamResponse:
        """Refused before a byte is answered, or answered row by row to the end."""
        request = call.request
        if request.content_type not in (CSV, JSON_LINES):
            message = f"send the file as Content-Type: {CSV} or {JSON_LINES}"
            raise Problem(415, "unsupported-media-type", message)
        rows = rows_of(await _content(request), request.content_type)
        looked = [found async for found in self._looked_at(call, rows)]
        is_clean = all(found.outcome != "error" for found in looked)
        response = web.StreamResponse(
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        )
        response.content_type = JSON_LINES
        await response.prepare(request)
        try:
            if query.dry_run or not is_clean:
                told = looked if query.dry_run else [_not_done(found) for found in looked]
                await _tell(response, told)
            else:
                told = await self._carried_out(call, rows, looked, response)
            await _write(response, {"summary": _summary(told, dry_run=query.dry_run)})
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            if request.transport is not None:  # whoever asked has gone, and the rest is not begun
                request.transport.abort()
        return response

    async def _carried_out(
        self, call: Call, rows: Sequence[Row], looked: Sequence[Line], response: web.StreamResponse
    ) -> list[Line]:
        """Raises TimeoutError, ConnectionError."""
        told: list[Line] = []
        for at in range(0, len(rows), AT_ONCE):
            pairs = zip(rows[at : at + AT_ONCE], looked[at : at + AT_ONCE], strict=True)
            done = await asyncio.gather(*(self._registered(call, *pair) for pair in pairs))
            told += done
            await _tell(response, done)
        return told

    # ------------------------------------------------------------ look

    async def _looked_at(self, call: Call, rows: Sequence[Row]) -> AsyncIterator[Line]:
        for at in range(0, len(rows), AT_ONCE):
            for found in await asyncio.gather(*(self._look(call, row) for row in rows[at : at + AT_ONCE])):
                yield found

    async def _look(self, call: Call, row: Row) -> Line:
        """What registering this row would come to. Raises Unavailable."""
        if row.body is None:
            return Line(line=row.line, charger_id=row.charger_id, outcome="error", errors=row.errors)
        cohorts = call.token.cohorts if call.token is not None else None
        if row.body.target_security_profile < row.body.security_profile:
            return _wrong(row, FieldProblem("target_security_profile", "must not be below security_profile"))
        known = await self._reader.charger(row.charger_id)
        touched = {row.body.cohort} | ({known["cohort"]} if known is not None else set())
        if cohorts is not None and not touched <= set(cohorts):
            return _wrong(row, FieldProblem("cohort", other_cohort(cohorts).message))
        if known is None:
            return Line(line=row.line, charger_id=row.charger_id, outcome="would-register")
        if known["decommissioned_at"] is not None:
            return _wrong(row, FieldProblem("charger_id", "this charger was taken out of service"))
        differing = [
            FieldProblem(name, f"the charger is known with {known[name]!r}")
            for name in _SAME
            if known[name] != getattr(row.body, name)
        ]
        if differing:
            return _wrong(row, *differing)
        return Line(line=row.line, charger_id=row.charger_id, outcome="unchanged")

    # ------------------------------------------------------------ do

    async def _registered(self, call: Call, row: Row, looked: Line) -> Line:
        """The row's charger, registered as by `POST /api/v1/chargers` under a key of its own."""
        if looked.outcome != "would-register" or row.body is None:
            return looked
        try:
            answer = await self._chargers.register(self._call_of(call, row.body), row.body)
        except Problem as problem:
            return _wrong(row, *(problem.errors or (FieldProblem("row", problem.detail),)))
        except Unavailable as away:
            return _wrong(row, FieldProblem("row", f"{away.peer} is away; send the file again"))
        key = answer.body["authorization_key"]
        return Line(
            line=row.line,
            charger_id=row.charger_id,
            outcome="registered",
            authorization_key=key if isinstance(key, str) else None,
        )

    def _call_of(self, call: Call, body: RegisterChargerBody) -> Call:
        value: dict[str, Any] = msgspec.to_builtins(body)
        if body.authorization_key is not None:
            value["authorization_key"] = self._keys.verifier(body.authorization_key).verifier
        own = repetition(
            token=call.token.name if call.token is not None else "",
            operation="imports.row",
            key=f"{call.request.headers.get(HEADER, '')} {body.charger_id}",
            path="/api/v1/chargers",
            body=value,
            unkeyed_seed=self._clock.new_id(),
        )
        return dataclasses.replace(call, repetition=own)


async def _tell(response: web.StreamResponse, lines: Sequence[Line]) -> None:
    for line in lines:
        await _write(response, line)


def _wrong(row: Row, *errors: FieldProblem) -> Line:
    return Line(line=row.line, charger_id=row.charger_id, outcome="error", errors=errors)


def _not_done(found: Line) -> Line:
    """Another row is wrong."""
    if found.outcome != "would-register":
        return found
    return msgspec.structs.replace(found, outcome="not-done")


def _summary(lines: Sequence[Line], *, dry_run: bool) -> dict[str, Any]:
    names: tuple[Outcome, ...] = ("would-register", "registered", "unchanged", "error", "not-done")
    counts = {name.replace("-", "_"): sum(line.outcome == name for line in lines) for name in names}
    return {"dry_run": dry_run, "rows": len(lines), **counts}


async def _content(request: web.Request) -> bytes:
    """The file. Raises Problem when it is too long or too slow."""
    content = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            async for piece in request.content.iter_chunked(65536):
                content += piece
                if len(content) > MAX_BYTES:
                    raise Problem(413, "file-too-long", f"more than {MAX_BYTES} bytes: cut it into several")
    except TimeoutError:
        raise Problem(408, "request-too-slow", "the file did not arrive in time") from None
    return bytes(content)


async def _write(response: web.StreamResponse, document: Any) -> None:
    """One line. Raises TimeoutError for a client that does not read, ConnectionError for one that has gone."""
    async with asyncio.timeout(WRITE_WITHIN_S):
        await response.write(msgspec.json.encode(document) + b"\n")
