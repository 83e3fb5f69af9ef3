"""The API's own description, made from the table that routes: OpenAPI 3.1."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from gateways.admin import field, idempotency
from gateways.admin.approval import ApprovalBody
from gateways.admin.problem import CONTENT_TYPE, ProblemDocument
from gateways.admin.role import MAY
from gateways.admin.route import JSON, Answer, Call, Route

PATH = "/api/v1/openapi.json"
_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{([a-z_]+)(?::[^}]*)?\}")
_INFO = """Certificates of an EV charging fleet: one inventory, one job and policy model, for every certificate purpose.

Every error is a problem document (RFC 9457) whose `errors` name the fields at fault. Every POST carries an
`Idempotency-Key`: the same key and body give the same answer for 24 hours, the same key with another body is refused with 422.
Lists are pages: pass `next_cursor` back as `cursor`. Fields may be added to answers; clients ignore those they do not know."""

_MEANING = {
    400: "The body is not JSON, or the request is malformed",
    401: "No valid token",
    403: "The token's role may not do this",
    404: "Nothing of that name",
    408: "The body did not arrive in time",
    409: "In conflict with the present state; the reason is given",
    413: "The body is too large: 1 MiB, a file's own bound",
    415: "The body is not of a media type that is taken here",
    421: "This server does not answer under that Host name",
    422: "Understood, but refused; `errors` names the field",
    500: "A fault of the server; it has been logged",
    503: "Something needed is away just now; repeat the same request after Retry-After seconds",
}


class OpenApi:
    """`/api/v1/openapi.json`; `describe` must be given every route before the first request."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._document = b"{}"

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path=PATH,
                operation="openapi.get",
                summary="This document",
                handler=self.get,
                answer=dict[str, Any],
            ),
        )

    async def get(self, call: Call) -> Answer:
        return Answer(self._document)

    def describe(self, routes: Sequence[Route]) -> None:
        """Make the document."""
        self._document = msgspec.json.encode(document(routes, self._version))


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole description as JSON values."""
    types: list[Any] = [ProblemDocument, ApprovalBody]
    for route in routes:
        types += [kind for kind in (route.body, route.query, route.answer, route.begun) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    by_type = list(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
        operations[route.method.lower()] = _operation(route, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "BetterFleet certificate control plane", "version": version, "description": _INFO},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schema(kind: Any, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    return next(schema for known, schema in by_type if known is kind or known == kind)


def _operation(
    route: Route, by_type: list[tuple[Any, dict[str, Any]]], components: dict[str, Any]
) -> dict[str, Any]:
    roles = sorted(MAY[route.operation])
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.operation.partition(".")[0]],
        "summary": route.summary,
        "description": _description(route, roles),
        "parameters": _parameters(route, by_type, components),
        "responses": _responses(route, by_type),
        "security": [{"token": []}] if roles else [],
        "x-roles": roles,
    }
    if route.body is not None:
        content = {JSON: {"schema": _schema(route.body, by_type)}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.accepts:
        files = {media_type: {"schema": {"type": "string"}} for media_type in route.accepts}
        operation["requestBody"] = {"required": True, "content": files}
    return operation


def _description(route: Route, roles: list[str]) -> str:
    allowed = f"Roles: {', '.join(roles)}." if roles else "Needs no token."
    return f"{route.description} {allowed}".strip()


def _parameters(
    route: Route, by_type: list[tuple[Any, dict[str, Any]]], components: dict[str, Any]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name in _PARAMETER.findall(route.path):
        schema = msgspec.json.schema(field.ChargerId if name == "charger_id" else field.PathName)
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.method == "POST":
        found.append(
            {
                "name": idempotency.HEADER,
                "in": "header",
                "required": True,
                "description": "Any text of your own; the same for every repeat of the same request",
                "schema": {"type": "string", "pattern": idempotency.HEADER_PATTERN},
            }
        )
    if route.query is not None:
        reference = _schema(route.query, by_type)["$ref"]
        query = components[reference.rpartition("/")[2]]
        required = query.get("required", [])
        for name, schema in query["properties"].items():
            found.append({"name": name, "in": "query", "required": name in required, "schema": schema})
    return found


def _responses(route: Route, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": route.summary}
    if route.content_type == JSON:
        success["content"] = {JSON: {"schema": _schema(route.answer, by_type)}}
    else:
        success["content"] = {route.content_type: {"schema": {"type": "string"}}}
    responses: dict[str, Any] = {str(route.status): success}
    if route.begun is not None:
        responses["202"] = {
            "description": "It has begun",
            "content": {JSON: {"schema": _schema(route.begun, by_type)}},
        }
    if route.may_be_held:
        held = _schema(ApprovalBody, by_type)
        done = responses.get("202")
        responses["202"] = {
            "description": "Somebody else must agree first; nothing is done yet",
            "content": {JSON: {"schema": held}},
        }
        if done is not None:
            other = done["content"][JSON]["schema"]
            responses["202"] = {
                "description": f"{done['description']}; or somebody else must agree first, and nothing is done yet",
                "content": {JSON: {"schema": {"anyOf": [other, held]}}},
            }
    for status in sorted(_refusals(route)):
        meaning = route.further.get(status) or _MEANING[status]
        responses[str(status)] = _problem(status, meaning, by_type)
    if route.operation == "health.ready":
        content = responses["503"]["content"]
        content[JSON] = {"schema": _schema(route.answer, by_type)}
    return responses


def _refusals(route: Route) -> set[int]:
    """Which errors a route can answer, by what it has."""
    statuses = {400, 422, 500, 503} | set(route.further)
    if MAY[route.operation]:
        statuses |= {401, 403}
    if not route.any_host:
        statuses.add(421)
    if "{" in route.path:
        statuses.add(404)
    if route.conflicts:
        statuses.add(409)
    if route.body is not None or route.accepts:
        statuses |= {408, 413, 415}
    return statuses


def _problem(status: int, meaning: str, by_type: list[tuple[Any, dict[str, Any]]]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": meaning,
        "content": {CONTENT_TYPE: {"schema": _schema(ProblemDocument, by_type)}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds"}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return response
