"""Tokens of an identity provider on a real socket, with real keys, and everything that can be wrong with one."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bfactors.errors import Unavailable
from gateways.admin.oidc import ASKED_AGAIN_S, KEYS_FRESH_S, KEYS_LAST_S, OidcSettings, OidcTokens
from gateways.egress.egress import HttpEgress
from gateways.metrics import PrometheusMetrics
from tests.integration.admin_world import AdminWorld, Tokens, token_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AUDIENCE = "betterfleet"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


class Clock:
    def __init__(self) -> None:
        self.at = NOW
        self.s = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.s

    def new_id(self) -> str:
        return "id"


class Provider:
    """Discovery and keys; counts how often it is asked for them."""

    def __init__(self) -> None:
        self.url = ""
        self.said_issuer: str | None = None
        self.asked = 0
        self.is_away = False
        self.keys: list[dict[str, Any]] = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "r1", "use": "sig"},
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key())), "kid": "e1", "alg": "ES256"},
            {"kty": "XYZ", "kid": "odd"},
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNoYXJlZC1zZWNyZXQtc2hhcmVk"},
        ]

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.said_issuer or self.url, "jwks_uri": f"{self.url}/keys"})

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.is_away:
            return web.Response(status=503)
        return web.json_response({"keys": self.keys})

    def token(self, key: Any = EC, algorithm: str = "ES256", kid: str | None = "e1", **claims: Any) -> str:
        whole = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "roles": ["users", "pki"],
            "iat": int(NOW.timestamp()),
            "exp": int(NOW.timestamp()) + 600,
            **claims,
        }
        payload = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    one = Provider()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", one.discovery)
    app.router.add_get("/keys", one.jwks)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield one
    await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(provider: Provider, clock: Clock) -> AsyncIterator[OidcTokens]:
    egress = HttpEgress(PrometheusMetrics(), allowed_hosts=["127.0.0.1"])
    settings = OidcSettings(
        issuer=provider.url, audience=AUDIENCE, roles={"pki": "pki-admin", "users": "viewer"}
    )
    yield OidcTokens(Tokens(), settings, egress, clock)
    await egress.close()


async def test_a_provider_s_token_is_somebody_with_a_role_of_ours(
    tokens: OidcTokens, provider: Provider
) -> None:
    for token in (provider.token(), provider.token(RSA, "RS256", "r1"), provider.token(RSA, "PS256", "r1")):
        found = await tokens.verify(token)
        assert found is not None
        assert (found.name, found.role) == ("oidc:ada", "pki-admin")
    viewer = await tokens.verify(provider.token(roles="users", sub="ben"))
    assert viewer is not None
    assert (viewer.name, viewer.role, viewer.cohorts) == ("oidc:ben", "viewer", None)
    assert provider.asked == 1


async def test_our_own_tokens_go_on_beside_it(tokens: OidcTokens, provider: Provider) -> None:
    found = await tokens.verify(token_of("auditor"))
    assert found is not None
    assert found.role == "auditor"
    assert provider.asked == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(NOW.timestamp()) - 61},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": int(NOW.timestamp()) + 61},
        {"aud": "somebody-else"},
        {"aud": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"roles": ["gardener"]},
        {"roles": None},
        {"roles": {"pki": True}},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": None},
        {"sub": "x" * 129},
        {"key": STRANGER},
        {"key": RSA, "algorithm": "RS256", "kid": "e1"},
        {"kid": "unknown"},
        {"kid": None},
        {"kid": "odd"},
        {"key": "secret-shared-secret-shared-secret", "algorithm": "HS256", "kid": "shared"},
        {"key": "", "algorithm": "none", "kid": "e1"},
    ],
    ids=lambda changes: ",".join(f"{name}={str(value)[:12]!r}" for name, value in changes.items()),
)
async def test_whatever_is_wrong_with_a_token_it_is_nobody_s(
    tokens: OidcTokens, provider: Provider, changes: dict[str, Any]
) -> None:
    assert await tokens.verify(provider.token(**changes)) is None


async def test_a_public_key_is_no_shared_secret(tokens: OidcTokens, provider: Provider) -> None:
    header, payload, _ = provider.token().split(".")
    for mangled in ("a.b.c", "..", f"{header}.{payload}.", f"{header}.{payload}.AAAA", "e30.e30.e30"):
        assert await tokens.verify(mangled) is None


async def test_a_small_difference_of_clocks_is_borne(tokens: OidcTokens, provider: Provider) -> None:
    assert await tokens.verify(provider.token(exp=int(NOW.timestamp()) - 59)) is not None
    assert await tokens.verify(provider.token(nbf=int(NOW.timestamp()) + 59)) is not None


async def test_roles_are_found_inside_a_claim_and_under_a_dotted_name(
    provider: Provider, clock: Clock
) -> None:
    egress = HttpEgress(PrometheusMetrics(), allowed_hosts=["127.0.0.1"])
    settings = OidcSettings(
        issuer=provider.url, audience=AUDIENCE, roles={"pki": "pki-admin"}, roles_claim="realm.roles"
    )
    try:
        tokens = OidcTokens(Tokens(), settings, egress, clock)
        assert await tokens.verify(provider.token(realm={"roles": ["pki"]})) is not None
        assert await tokens.verify(provider.token(**{"realm.roles": "pki"})) is not None
        assert await tokens.verify(provider.token(realm={"roles": []})) is None
    finally:
        await egress.close()


@pytest.mark.parametrize(
    ("claims", "cohorts"),
    [
        ({"cohorts": ["north", "canary", "north"]}, ("canary", "north")),
        ({"cohorts": "north"}, ("north",)),
        ({"cohorts": ["*"]}, None),
        ({"cohorts": ["north", "*"]}, None),
        ({"cohorts": []}, ()),
        ({"cohorts": [5]}, ()),
        ({}, ()),
    ],
)
async def test_somebody_is_limited_to_the_cohorts_of_a_claim_and_without_it_to_none(
    provider: Provider, clock: Clock, claims: dict[str, Any], cohorts: tuple[str, ...] | None
) -> None:
    egress = HttpEgress(PrometheusMetrics(), allowed_hosts=["127.0.0.1"])
    settings = OidcSettings(
        issuer=provider.url, audience=AUDIENCE, roles={"pki": "pki-admin"}, cohorts_claim="cohorts"
    )
    try:
        found = await OidcTokens(Tokens(), settings, egress, clock).verify(provider.token(**claims))
        assert found is not None
        assert found.cohorts == cohorts
    finally:
        await egress.close()


async def test_a_new_key_is_asked_for_once_and_made_up_ones_ask_no_more_often(
    tokens: OidcTokens, provider: Provider, clock: Clock
) -> None:
    assert await tokens.verify(provider.token()) is not None
    for number in range(20):
        assert await tokens.verify(provider.token(kid=f"made-up-{number}")) is None
    assert provider.asked == 1
    added = ec.generate_private_key(ec.SECP256R1())
    provider.keys.append({**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(added.public_key())), "kid": "e2"})
    clock.s += ASKED_AGAIN_S
    assert await tokens.verify(provider.token(added, kid="e2")) is not None
    assert provider.asked == 2


async def test_a_key_the_provider_withdrew_ends_within_the_hour(
    tokens: OidcTokens, provider: Provider, clock: Clock
) -> None:
    assert await tokens.verify(provider.token()) is not None
    provider.keys = provider.keys[:1]
    clock.s += KEYS_FRESH_S
    assert await tokens.verify(provider.token()) is None


async def test_while_the_provider_is_away_its_last_keys_do_for_a_day(
    tokens: OidcTokens, provider: Provider, clock: Clock
) -> None:
    provider.is_away = True
    with pytest.raises(Unavailable):
        await tokens.verify(provider.token())
    provider.is_away = False
    clock.s += ASKED_AGAIN_S
    assert await tokens.verify(provider.token()) is not None
    provider.is_away = True
    clock.s += KEYS_FRESH_S
    assert await tokens.verify(provider.token()) is not None
    clock.s += KEYS_LAST_S
    with pytest.raises(Unavailable):
        await tokens.verify(provider.token())


async def test_another_issuer_s_discovery_document_is_not_believed(
    tokens: OidcTokens, provider: Provider
) -> None:
    provider.said_issuer = "https://evil.example"
    with pytest.raises(Unavailable):
        await tokens.verify(provider.token())


async def test_over_the_api_it_opens_what_its_role_may(provider: Provider, tokens: OidcTokens) -> None:
    async with AdminWorld(tokens=tokens).served() as world:  # type: ignore[arg-type]
        bearer = {"Authorization": f"Bearer {provider.token(roles=['users'])}"}
        assert (await world.ask("GET", "/api/v1/chargers", role=None, headers=bearer)).status == 200
        body = {"kind": "family", "name": "x", "reason": "y"}
        refused = await world.ask(
            "POST", "/api/v1/supervisors/family/x/pause", {"reason": "y"}, role=None, headers=bearer
        )
        assert (refused.status, body["name"]) == (403, "x")
        long = {"Authorization": f"Bearer {'a' * 3000}.{'b' * 3000}.{'c' * 3000}"}
        assert (await world.ask("GET", "/api/v1/chargers", role=None, headers=long)).status in (400, 401)
        bearer = {"Authorization": f"Bearer {provider.token()}"}
        paused = await world.ask(
            "POST", "/api/v1/supervisors/family/x/pause", {"reason": "y"}, role=None, headers=bearer
        )
        assert paused.status == 200
        assert world.door.asked[-1].actor == "operator:oidc:ada"
