"""Problem documents: the one form in which this API says no. Source: RFC 9457."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
from aiohttp import web

from bfactors.errors import BetterFleetError
from bfactors.refusal import Refusal

CONTENT_TYPE = "application/problem+json"
_TYPE = "urn:betterfleet:problem:"
_REFUSAL_STATUSES = frozenset({403, 404, 409, 410, 422})


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is a path such as `anchors[0]`, a parameter's or a header's name."""

    field: str
    message: str


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=False):
    """An error as every route answers it. `type` is stable and ends with `code`; `errors` names the fields at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: tuple[FieldProblem, ...] = ()


class Problem(BetterFleetError):
    """Ends the handling of a request with a problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @classmethod
    def of_field(cls, field: str, message: str, code: str = "invalid-value", status: int = 422) -> "Problem":
        """The request is understood, but one field of it cannot be used."""
        return cls(status, code, f"{field}: {message}", errors=(FieldProblem(field, message),))

    @classmethod
    def of_refusal(cls, refusal: Refusal) -> "Problem":
        """A refusal of the ledger or a reader, in HTTP."""
        status = refusal.status if refusal.status in _REFUSAL_STATUSES else 422
        errors = (FieldProblem(refusal.field, refusal.message),) if refusal.field is not None else ()
        return cls(status, refusal.code, refusal.message, errors=errors)

    @classmethod
    def unknown(cls, what: str, name: str) -> "Problem":
        """Nothing of that name exists."""
        return cls(404, f"unknown-{what}", f"there is no {what.replace('-', ' ')} {name!r}")

    @classmethod
    def away(cls, detail: str, retry_after_s: int) -> "Problem":
        """Something we need is away; the same request may be repeated."""
        return cls(503, "unavailable", detail, headers={"Retry-After": str(max(1, retry_after_s))})

    def document(self) -> ProblemDocument:
        """The body of the answer."""
        return ProblemDocument(
            type=_TYPE + self.code,
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            errors=self.errors,
        )

    def response(self) -> web.Response:
        """The answer itself."""
        body = msgspec.json.encode(self.document())
        headers = {"Cache-Control": "no-store", **self.headers}
        return web.Response(status=self.status, body=body, content_type=CONTENT_TYPE, headers=headers)


_CODES = {
    400: "malformed-request",
    404: "unknown-resource",
    405: "method-not-allowed",
    408: "request-too-slow",
    413: "body-too-large",
    417: "expectation-failed",
}


def problem_of_http(error: web.HTTPException) -> Problem:
    """aiohttp's own refusals (no such route, wrong method, body too large) as problems, their headers kept."""
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Retry-After")}
    detail = {
        404: "there is nothing at this path",
        405: "this path does not know the method",
        413: "the body is larger than 1 MiB",
    }.get(error.status, error.reason)
    return Problem(error.status, _CODES.get(error.status, f"http-{error.status}"), detail, headers=kept)
