"""Operators who log in at an identity provider: bearer tokens that are JWTs, checked against the provider's published keys.

What is checked: signature by a key of the JWKS under an asymmetric algorithm, issuer, audience, the dates by our own clock,
and that the roles claim holds a value which the settings map to a role here. Source: RFC 7519, RFC 7517, RFC 8725 (the
algorithm comes from a list of ours, never `none`, never a shared secret), OpenID Connect Discovery 1.0, section 4.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec

from bfactors.errors import NotFetched, Unavailable
from bfactors.ports import Clock, Egress
from gateways.admin.ports import Token, TokenStore

_LOG = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
JWT_MAX_CHARS = 8192
LEEWAY_S = 60.0
KEYS_FRESH_S = 3600.0
"""How old the keys may be before they are asked for again."""
KEYS_LAST_S = 86_400.0
"""How old they may be while the provider is away."""
ASKED_AGAIN_S = 30.0
"""A token under an unknown key asks for the keys again, but not more often: anybody can make up a key's name."""
_ANSWER_MAX_BYTES = 512 * 1024
_WITHIN_S = 10.0
_NAME_MAX_CHARS = 128
NAME_PREFIX = "oidc:"
"""So that nobody at the provider can be called like one of our own tokens, in the trail or anywhere else."""
EVERY_COHORT = "*"
_PEER = "the identity provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """`roles`: from a value of the claim to a role here, the first that is found counts. `roles_claim` may be a dotted path."""

    issuer: str
    audience: str
    roles: Mapping[str, str]
    roles_claim: str = "roles"
    name_claim: str = "sub"
    cohorts_claim: str = ""
    """Where the cohorts stand that somebody is limited to; `*` among them: all. Empty: nobody is limited."""
    jwks_url: str = ""
    """Empty: as the issuer's discovery document says."""


class OidcToken(msgspec.Struct, frozen=True):
    """Who is asking, by their provider's word."""

    name: str
    role: str
    cohorts: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One published key. `algorithm` as the provider says; None: any that fits its kind."""

    public_key: Any
    algorithm: str | None


class ProviderKeys:
    """The provider's signing keys by their ids, asked for when they are needed. One loop."""

    def __init__(self, settings: OidcSettings, egress: Egress, clock: Clock) -> None:
        self._settings = settings
        self._egress = egress
        self._clock = clock
        self._keys: dict[str, ProviderKey] = {}
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> ProviderKey | None:
        """None: the provider has no such key. Raises Unavailable: it cannot be asked, and none are at hand."""
        if not self._is_younger(self._fetched_s, KEYS_FRESH_S) or key_id not in self._keys:
            async with self._asking:
                if not self._is_younger(self._fetched_s, KEYS_FRESH_S) or key_id not in self._keys:
                    await self._ask()
        return self._keys.get(key_id)

    async def _ask(self) -> None:
        if self._is_younger(self._asked_s, ASKED_AGAIN_S):
            self._refuse_unless_known()
            return
        self._asked_s = self._clock.monotonic()
        try:
            found = await self._fetched()
        except (NotFetched, msgspec.DecodeError, msgspec.ValidationError) as problem:
            _LOG.warning("the identity provider's keys cannot be had: %s", problem)
            self._refuse_unless_known()
            return
        self._keys, self._fetched_s = found, self._clock.monotonic()

    def _refuse_unless_known(self) -> None:
        if not self._is_younger(self._fetched_s, KEYS_LAST_S):
            self._keys = {}
            raise Unavailable(_PEER, "its keys cannot be had")

    def _is_younger(self, at_s: float | None, than_s: float) -> bool:
        return at_s is not None and self._clock.monotonic() - at_s < than_s

    async def _fetched(self) -> dict[str, ProviderKey]:
        url = self._settings.jwks_url or await self._discovered()
        document = msgspec.json.decode(await self._get(url), type=_KeySet)
        found: dict[str, ProviderKey] = {}
        for described in document.keys:
            key_id = described.get("kid")
            if not isinstance(key_id, str) or described.get("use", "sig") != "sig":
                continue
            try:
                found[key_id] = ProviderKey(jwt.PyJWK(described).key, described.get("alg"))
            except jwt.PyJWTError as problem:  # of a kind we cannot use; others beside it may do
                _LOG.info("a key of the identity provider is passed over: %s", type(problem).__name__)
        return found

    async def _discovered(self) -> str:
        issuer = self._settings.issuer
        found = await self._get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        document = msgspec.json.decode(found, type=_Discovery)
        if document.issuer != issuer:
            raise NotFetched("not-ok", "the discovery document is another issuer's")
        return document.jwks_uri

    async def _get(self, url: str) -> bytes:
        return await self._egress.fetch(url, size_bytes=_ANSWER_MAX_BYTES, within_s=_WITHIN_S)


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class _Discovery(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class OidcTokens:
    """`gateways.admin.ports.TokenStore` that takes a provider's JWTs as well as our own tokens."""

    def __init__(self, own: TokenStore, settings: OidcSettings, egress: Egress, clock: Clock) -> None:
        self._own = own
        self._settings = settings
        self._clock = clock
        self._keys = ProviderKeys(settings, egress, clock)

    async def verify(self, token: str) -> Token | None:
        """Whose token this is; None for one that is nobody's. Raises Unavailable."""
        if token.count(".") != 2:
            return await self._own.verify(token)
        claims = await self._claims(token)
        return None if claims is None else self._token(claims)

    async def _claims(self, token: str) -> dict[str, Any] | None:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return None
        key_id, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(key_id, str) or algorithm not in ALGORITHMS:
            return None
        key = await self._keys.key(key_id)
        if key is None or key.algorithm not in (None, algorithm):
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                # dates are looked at below, by the clock that everything here goes by
                options={
                    "require": ["exp", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError) as problem:
            _LOG.info("a provider's token is refused: %s", type(problem).__name__)
            return None
        return claims if self._is_in_time(claims) else None

    def _is_in_time(self, claims: Mapping[str, Any]) -> bool:
        now = self._clock.now().timestamp()
        ends, begins = claims["exp"], claims.get("nbf", 0)
        if not isinstance(ends, int | float) or not isinstance(begins, int | float):
            return False
        return now < ends + LEEWAY_S and begins - LEEWAY_S <= now

    def _token(self, claims: Mapping[str, Any]) -> OidcToken | None:
        name = claims.get(self._settings.name_claim)
        if not isinstance(name, str) or not 1 <= len(name) <= _NAME_MAX_CHARS or not name.isprintable():
            return None
        held = _texts_at(claims, self._settings.roles_claim)
        role = next((role for value, role in self._settings.roles.items() if value in held), None)
        if role is None:
            _LOG.info("a provider's token names no role of ours")
            return None
        return OidcToken(f"{NAME_PREFIX}{name}", role, self._cohorts(claims))

    def _cohorts(self, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
        """What somebody is limited to; without the claim it is to no cohort at all."""
        if not self._settings.cohorts_claim:
            return None
        held = _texts_at(claims, self._settings.cohorts_claim)
        return None if EVERY_COHORT in held else tuple(sorted(set(held)))


def _texts_at(claims: Mapping[str, Any], path: str) -> Sequence[str]:
    """The texts at a dotted path, or under a claim that is called so; one text is a list of one."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
