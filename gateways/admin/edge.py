"""What every request goes through, outermost first: problem documents, the Host's name, who is asking, what is sent."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from bfactors.errors import Unavailable
from bfactors.evidence import AccessDenied
from bfactors.free_text import has_identifier, without_identifiers
from gateways.admin import idempotency
from gateways.admin.command import Held
from gateways.admin.denial import claimed_by, plain
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.field import ChargerId
from gateways.admin.idempotency import Repetition, repetition
from gateways.admin.inbound import body_of, is_clean, json_value, media_type_problem, no_query, query_of
from gateways.admin.oidc import JWT_MAX_CHARS
from gateways.admin.ports import Token
from gateways.admin.problem import Problem, problem_of_http
from gateways.admin.reach import Limits
from gateways.admin.role import MAY
from gateways.admin.route import JSON, Answer, Call, Route

_LOG = logging.getLogger(__name__)

BODY_WITHIN_S = 20.0
TOKEN_MAX_CHARS = 256
PATH_PARAMETER_MAX_CHARS = 256
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_WRITTEN_BY_PEOPLE = ("reason", "note", "comment")
_WITHOUT_BODY = frozenset({"GET", "HEAD"})

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def problems(request: web.Request, handler: Serve) -> web.StreamResponse:
    """Whatever goes wrong becomes a problem document; the outermost handler of this edge."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return problem_of_http(error).response()
    except Unavailable as away:
        _LOG.warning("admin request not served: %s", away)
        return Problem.away(f"{away.peer} is away; repeat the request", away.retry_after_s).response()
    except Exception:  # noqa: BLE001 - the outermost handler of this edge: whoever asked must be answered
        _LOG.exception("admin request failed: %s %s", request.method, request.rel_url.raw_path)
        return Problem(500, "internal-error", "this is a fault of the server and has been logged").response()


class Entrance:
    """Turns routes into handlers: authentication, role, parsing, one log line and two numbers per request."""

    def __init__(self, dependencies: AdminDependencies) -> None:
        self._dependencies = dependencies
        self._limits = Limits(dependencies.reader)

    def serve(self, route: Route) -> Serve:
        """The aiohttp handler of one route."""

        async def serve(request: web.Request) -> web.StreamResponse:
            begun = time.monotonic()
            outcome = 500
            who = "-"
            token: Token | None = None
            try:
                token = await self._known(route, request)
                who = token.name if token is not None else "-"
                self._check_role(route, token)
                self._limits.check_operation(route.operation, route.path, token)
                answered = await self._handled(route, request, token)
                outcome = answered.status
                return answered
            except Problem as problem:
                outcome = problem.status
                if outcome in (401, 403):
                    self._dependencies.denied(_denial(route, request, token, problem))
                raise
            except web.HTTPException as error:
                outcome = error.status
                raise
            except Unavailable:
                outcome = 503
                raise
            finally:
                self._note(route, outcome, who, time.monotonic() - begun)

        return serve

    def _note(self, route: Route, status: int, who: str, seconds: float) -> None:
        metrics = self._dependencies.metrics
        metrics.count("bf_admin_requests_total", operation=route.operation, status=str(status))
        metrics.observe("bf_admin_request_seconds", seconds, operation=route.operation)
        _LOG.info(
            "admin request",
            extra={"operation": route.operation, "status": status, "who": who, "seconds": round(seconds, 4)},
        )

    # ------------------------------------------------------------ who

    async def _known(self, route: Route, request: web.Request) -> Token | None:
        """Who asks; None on a public route."""
        if not route.any_host:
            self._check_host(request)
        return await self._token(request) if MAY[route.operation] else None

    def _check_role(self, route: Route, token: Token | None) -> None:
        may = MAY[route.operation]
        if token is not None and token.role not in may:
            raise Problem(
                403, "forbidden", f"the role {token.role!r} may not do this; it takes {_one_of(may)}"
            )

    def _check_host(self, request: web.Request) -> None:
        """A page in somebody's browser may reach us under a name of its own; it must not be served."""
        host = (request.headers.get("Host") or "").strip().lower()
        name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
        if name not in self._dependencies.allowed_hosts:
            raise Problem(421, "unknown-host", "this server does not answer under that Host name")

    async def _token(self, request: web.Request) -> Token:
        header = request.headers.get("Authorization")
        if header is None:
            raise _unauthorized("send Authorization: Bearer <token>", "")
        scheme, _, text = header.partition(" ")
        text = text.strip()
        longest = JWT_MAX_CHARS if text.count(".") == 2 else TOKEN_MAX_CHARS
        if scheme.lower() != "bearer" or not 1 <= len(text) <= longest or not text.isascii():
            raise _unauthorized("send Authorization: Bearer <token>", ', error="invalid_request"')
        token = await self._dependencies.tokens.verify(text)
        if token is None:
            raise _unauthorized("the token is unknown, revoked or expired", ', error="invalid_token"')
        return token

    # ------------------------------------------------------------ what

    async def _handled(self, route: Route, request: web.Request, token: Token | None) -> web.StreamResponse:
        path = _path_of(request)
        key = request.headers.get(idempotency.HEADER)
        if route.method == "POST" or key:
            problem = idempotency.key_problem(key)
            if problem is not None:
                raise Problem.of_field(idempotency.HEADER, problem, "idempotency-key-required")
        arguments: list[Any] = []
        if route.query is not None:
            arguments.append(query_of(request, route.query))
        else:
            no_query(request)
        query = arguments[0] if arguments else None
        await self._limits.check(route.operation, route.path, token, path, query)
        value = None
        if route.body is not None:
            value = await _body(request)
            arguments.append(body_of(value, route.body))
            _keep_persons_out(value)
        call = Call(request, path, token, self._repetition(route, request, token, key, value))
        try:
            answer = await route.handler(call, *arguments)
        except Held as held:
            approval_id = msgspec.json.decode(held.approval)["approval_id"]
            answer = Answer(held.approval, 202, {"Location": f"/api/v1/approvals/{approval_id}"})
        if isinstance(answer, Answer):
            return _response(route, answer)
        return answer

    def _repetition(
        self, route: Route, request: web.Request, token: Token | None, key: str | None, value: Any
    ) -> Repetition:
        if route.method in _WITHOUT_BODY:
            return Repetition("", "", "")
        if isinstance(value, dict) and route.secret_fields:
            value = {
                name: self._covered(part) if name in route.secret_fields else part
                for name, part in value.items()
            }
        return repetition(
            token=token.name if token is not None else "",
            operation=route.operation,
            key=key or "",
            path=request.path,
            body=value,
            unkeyed_seed=self._dependencies.clock.new_id(),
        )

    def _covered(self, part: Any) -> Any:
        """Every text in a part of a body as its verifier."""
        if isinstance(part, dict):
            return {name: self._covered(inner) for name, inner in part.items()}
        return self._dependencies.keys.verifier(part).verifier if isinstance(part, str) else part


def _denial(route: Route, request: web.Request, token: Token | None, problem: Problem) -> AccessDenied:
    """What is put on record of it: never the token, and no query, in which somebody may have put one."""
    return AccessDenied(
        remote_address=request.remote or "",
        who=token.name if token is not None else "",
        role=token.role if token is not None else "",
        claimed="" if token is not None else claimed_by(request.headers.get("Authorization")),
        operation=route.operation,
        request=without_identifiers(plain(f"{request.method} {request.path}")),
        status=problem.status,
        code=problem.code,
    )


def _path_of(request: web.Request) -> dict[str, str]:
    """The path's parameters. A name that could not exist is simply unknown."""
    path = dict(request.match_info)
    for name, text in path.items():
        if not text or len(text) > PATH_PARAMETER_MAX_CHARS or not is_clean(text):
            raise Problem.unknown("resource", text[:PATH_PARAMETER_MAX_CHARS].replace("\x00", "\\0"))
        if name == "charger_id":
            try:
                msgspec.convert(text, ChargerId)
            except msgspec.ValidationError:
                raise Problem.unknown("charger", text) from None
    return path


def _keep_persons_out(value: Any) -> None:
    """People's own words go on record for good, so no VIN or EMAID may be among them. Raises Problem."""
    for name in _WRITTEN_BY_PEOPLE:
        text = value.get(name) if isinstance(value, dict) else None
        if isinstance(text, str) and has_identifier(text):
            message = "seems to hold a VIN, EMAID or PCID, and would be kept for good; name the identity's id instead"
            raise Problem.of_field(name, message, "personal-data")


async def _body(request: web.Request) -> Any:
    problem = media_type_problem(request)
    if problem is not None:
        raise problem
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            raw = await request.read()
    except TimeoutError:
        raise Problem(408, "request-too-slow", "the body did not arrive in time") from None
    return json_value(raw)


def _response(route: Route, answer: Answer) -> web.Response:
    body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
    content_type = route.content_type if answer.status == route.status else JSON
    headers = {"Content-Type": content_type, **_HEADERS, **answer.headers}
    return web.Response(status=answer.status, body=body, headers=headers)


def _unauthorized(detail: str, error: str) -> Problem:
    challenge = f'Bearer realm="betterfleet"{error}'
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})


def _one_of(roles: frozenset[str]) -> str:
    return " or ".join(sorted(roles))
