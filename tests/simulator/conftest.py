"""Fixtures: one PKI for all tests, a central system and chargers for each."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from simulator.charger import (
    Charger,
    ChargerConfiguration,
    ChargerFamily,
    ChargerMemory,
    NetworkProfile,
    ReconnectBackoff,
)
from tests.simulator.authority import Authority, pem
from tests.simulator.central_system import CentralSystem, server_tls

FAMILY = ChargerFamily("volt-one", "Volt", "One", "1.0")
PASSWORD = "correct-horse-battery"


@dataclass(frozen=True)
class Pki:
    server_root: Authority
    identity_root: Authority
    identity: Authority
    leaves: tuple[Path, ...]
    strange_leaf: Path

    def tls(self) -> ssl.SSLContext:
        # The intermediate is trusted too, for clients that send their leaf only.
        return server_tls(
            list(self.leaves), [pem(self.identity_root.certificate), pem(self.identity.certificate)]
        )


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    server_root, identity_root = Authority.root("server root"), Authority.root("identity root")
    leaves = (
        server_root.server(folder, ec.generate_private_key(ec.SECP256R1()), "ec.pem"),
        server_root.server(folder, rsa.generate_private_key(65537, 2048), "rsa.pem"),
    )
    strange = Authority.root("stranger").server(folder, ec.generate_private_key(ec.SECP256R1()), "x.pem")
    return Pki(server_root, identity_root, identity_root.below("identity CA"), leaves, strange)


@pytest.fixture
async def csms(pki: Pki) -> AsyncIterator[CentralSystem]:
    """A central system; whatever chargers said to it must have been true to the official schemas."""
    async with CentralSystem().listen(pki.tls()) as central_system:
        yield central_system
    assert central_system.violations == []


class MakeCharger(Protocol):
    async def __call__(self, **changes: Any) -> Charger: ...


@pytest.fixture
async def make_charger(pki: Pki, csms: CentralSystem) -> AsyncIterator[MakeCharger]:
    """Start a charger on profile 2 that the central system knows; keywords change its configuration."""
    chargers: list[Charger] = []

    async def make(
        *, memory: Callable[[ChargerConfiguration], ChargerMemory] | None = None, **changes: Any
    ) -> Charger:
        settings: dict[str, Any] = {
            "charger_id": f"depot-{len(chargers) + 1}",
            "serial_number": f"SN{len(chargers) + 1:04}",
            "organization": "Depot Ltd",
            "family": FAMILY,
            "network_profiles": {1: NetworkProfile(csms.url, 2)},
            "basic_password": PASSWORD,
            "csms_roots": (pem(pki.server_root.certificate),),
            "reconnect": ReconnectBackoff(timedelta(milliseconds=10), timedelta(milliseconds=5), 2),
            "connection_attempts": 2,
        }
        configuration = ChargerConfiguration(**(settings | changes))
        csms.passwords.setdefault(configuration.charger_id, configuration.basic_password)
        charger = Charger(configuration, memory=memory(configuration) if memory else None)
        chargers.append(charger)
        await charger.start()
        return charger

    yield make
    for charger in chargers:
        await charger.stop()
