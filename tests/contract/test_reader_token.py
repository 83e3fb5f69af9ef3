"""API tokens: seen once, stored as hashes, revoked for good."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from bfactors.refusal import Refusal
from persistence.role import WRITER
from persistence.token import TokenStore
from tests.conftest import FreshDatabase

pytest_plugins = ("tests.fakes.ledger_database",)


@pytest.fixture
async def tokens(emptied_ledger_database: FreshDatabase) -> AsyncIterator[TokenStore]:
    store = await TokenStore.open(emptied_ledger_database.dsn(WRITER), size=1)
    yield store
    await store.close()


async def created(tokens: TokenStore, name: str = "ada", role: str = "pki-admin") -> str:
    token = await tokens.create(name, role)
    assert isinstance(token, str)
    return token


async def test_a_token_is_known_until_it_is_revoked(tokens: TokenStore) -> None:
    token = await created(tokens)
    found = await tokens.verify(token)
    assert found is not None
    assert (found.name, found.role, found.revoked_at) == ("ada", "pki-admin", None)
    assert await tokens.verify(token + "x") is None
    assert await tokens.verify("\ud800\x00") is None
    assert await tokens.revoke("ada")
    assert not await tokens.revoke("ada")
    assert await tokens.verify(token) is None


async def test_the_database_holds_nothing_that_opens_a_door(
    tokens: TokenStore, emptied_ledger_database: FreshDatabase
) -> None:
    token = await created(tokens)
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    try:
        row = await connection.fetchrow("SELECT *, api_token::text AS everything FROM api_token")
        assert token not in row["everything"]
        assert await tokens.verify(row["token_hash"].hex()) is None
    finally:
        await connection.close()


async def test_a_name_belongs_to_one_live_token(tokens: TokenStore) -> None:
    await created(tokens)
    refused = await tokens.create("ada", "viewer")
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.status) == ("token-name-taken", 409)
    await tokens.revoke("ada")
    await created(tokens, role="viewer")
    assert [(token.role, token.revoked_at is None) for token in await tokens.list()] == [
        ("pki-admin", False),
        ("viewer", True),
    ]


async def test_a_token_may_be_limited_to_cohorts(tokens: TokenStore) -> None:
    free = await created(tokens, "free")
    limited = await tokens.create("limited", "operator", ["canary", "depot 7"])
    assert isinstance(limited, str)
    for token, cohorts in ((free, None), (limited, ("canary", "depot 7"))):
        found = await tokens.verify(token)
        assert found is not None
        assert found.cohorts == cohorts
    assert [each.cohorts for each in await tokens.list()] == [None, ("canary", "depot 7")]
