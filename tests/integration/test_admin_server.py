"""Where the admin API listens, and what it refuses to start as."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from bfactors.errors import SettingsError
from gateways.admin.app import create_app
from gateways.admin.server import is_loopback, serve_admin
from tests.core.x509_maker import Authority
from tests.integration.admin_world import AdminWorld


@pytest.fixture
async def world() -> AsyncIterator[AdminWorld]:
    async with AdminWorld().served() as world:
        yield world


async def test_a_taken_port_is_said_in_one_clear_line(world: AdminWorld) -> None:
    with pytest.raises(SettingsError) as caught:
        await serve_admin(create_app(world.dependencies), "127.0.0.1", world.server.port)
    assert f"127.0.0.1:{world.server.port}" in str(caught.value)
    assert "already in use" in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "admin.example", ""])
async def test_an_address_others_can_reach_needs_tls(world: AdminWorld, host: str) -> None:
    with pytest.raises(SettingsError, match="TLS"):
        await serve_admin(create_app(world.dependencies), host, 0)


async def test_an_address_that_is_not_ours_is_said_too(world: AdminWorld) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:9"):
        await serve_admin(create_app(world.dependencies), "192.0.2.1", 9, context)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_a_closed_server_answers_nobody_and_frees_its_port(world: AdminWorld) -> None:
    app = create_app(world.dependencies)
    server = await serve_admin(app, "127.0.0.1", 0)
    await server.close()
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.open_connection("127.0.0.1", server.port)
    again = await serve_admin(create_app(world.dependencies), "127.0.0.1", server.port)
    await again.close()


async def test_with_tls_it_is_served_as_https(world: AdminWorld, tmp_path: Path) -> None:
    root = Authority.root("Admin root", now=datetime.now(UTC))
    certificate, key = root.leaf("localhost", dns_name="localhost").write(tmp_path, "admin")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await serve_admin(create_app(world.dependencies), "localhost", 0, context)
    try:
        assert server.url == f"https://localhost:{server.port}"
        trust = ssl.create_default_context(cadata=root.pair.pem)
        async with aiohttp.ClientSession() as http, http.get(f"{server.url}/healthz", ssl=trust) as response:
            assert response.status == 200
    finally:
        await server.close()
