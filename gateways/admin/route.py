"""A route as data: where it is, who it takes what from, and what it answers. Routing and OpenAPI are made from it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateways.admin.idempotency import Repetition
from gateways.admin.ports import Token

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed every check of its route. `token` is None on public routes only."""

    request: web.Request
    path: Mapping[str, str]
    token: Token | None
    repetition: Repetition

    @property
    def actor(self) -> str:
        """As the ledger records it."""
        return f"operator:{self.token.name}" if self.token is not None else "public"


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is encoded as JSON; bytes are sent as they are, under the route's content type."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[..., Awaitable[Answer | web.StreamResponse]]
"""Called with the Call, and then with the parsed body or query when the route has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`answer` is the type whose JSON Schema documents the success; `conflicts` documents a 409.

    `secret_fields` of the body are replaced by their verifier before the body is hashed for idempotency: a hash of a body
    with a weak password in it would give the password away.
    """

    method: str
    path: str
    operation: str
    summary: str
    handler: Handler
    answer: Any
    status: int = 200
    content_type: str = JSON
    query: type | None = None
    body: type | None = None
    accepts: tuple[str, ...] = ()
    """Media types of a body that is no JSON; its handler reads it, as it comes."""
    conflicts: bool = False
    further: Mapping[int, str] = field(default_factory=dict)
    """Other statuses with what they mean."""
    begun: Any = None
    """What 202 answers, where 200 only tells what it would come to."""
    may_be_held: bool = False
    """It may need a second person: then 202 with the approval, and nothing is done yet."""
    secret_fields: tuple[str, ...] = ()
    any_host: bool = False
    """Answered whatever the Host header says: probes come by address."""
    description: str = ""
