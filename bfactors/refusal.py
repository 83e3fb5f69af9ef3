"""Saying no, with a reason a person can act on."""

import msgspec


class Refusal(msgspec.Struct, frozen=True):
    """A returned "no": `code` is stable and kebab-case, `message` is for a person.

    `field` names the request field at fault, when one is; `status` hints the HTTP status (409 conflict with the
    present state, 404 unknown, 422 understood but refused) and is translated only at the edge.
    """

    code: str
    message: str
    field: str | None = None
    status: int = 422
