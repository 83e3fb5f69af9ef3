"""A load balancer that ended the charger's TLS: its word counts from its own addresses, and is an attack from any other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from bfactors.errors import SettingsError
from gateways.ocpp.option import GatewayOptions
from gateways.ocpp.proxy import Proxies
from tests.core.x509_maker import Authority, Pair
from tests.integration.gateway_world import PASSWORD, World, new_world
from tests.integration.test_gateway_profile import admitted, refusal

pytestmark = pytest.mark.uvloop


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway whose load balancer is loopback."""
    world = new_world(tmp_path, options=GatewayOptions(proxies=Proxies.of(["127.0.0.0/8"])), with_plain=True)
    await world.start()
    world.tls.replace_trust(
        [world.root.pair.pem, world.issuing.pair.pem]
    )  # as core tells a node: issuing CAs too
    yield world
    await world.gateway.stop()


@pytest.fixture
async def direct(tmp_path: Path) -> AsyncIterator[World]:
    """A gateway whose load balancer is somewhere else."""
    world = new_world(tmp_path, options=GatewayOptions(proxies=Proxies.of(["10.0.1.0/24", "fd00::/8"])))
    await world.start()
    yield world
    await world.gateway.stop()


def header(leaf: Pair, *, whole: bool = True) -> dict[str, str]:
    if whole:
        return {"X-Amzn-Mtls-Clientcert": quote(leaf.chain_pem, safe="+=/")}
    return {"X-Amzn-Mtls-Clientcert-Leaf": quote(leaf.pem, safe="+=/")}


def from_far(address: str = "192.0.2.7", proto: str = "https") -> dict[str, str]:
    return {"X-Forwarded-For": f"203.0.113.9, {address}", "X-Forwarded-Proto": proto}


@pytest.mark.parametrize("whole", [True, False], ids=["passthrough", "verify"])
@pytest.mark.parametrize("plain", [True, False], ids=["over ws", "over wss"])
async def test_a_charger_is_known_by_the_certificate_the_load_balancer_saw(
    behind: World, whole: bool, plain: bool
) -> None:
    leaf = behind.issuing.leaf()
    behind.charger("CS-1", (leaf, "active"))
    dial = behind.dial_plain if plain else behind.dial
    await admitted(behind, dial("CS-1", also=header(leaf, whole=whole) | from_far()))
    info = behind.door.sessions[0].info
    assert (info.security_profile, info.fingerprint_sha256) == (3, leaf.fingerprint)
    assert info.remote_address == "192.0.2.7"  # the one the load balancer saw, not the one the client claims


async def test_the_rules_are_those_of_the_handshake(behind: World) -> None:
    """A stranger's CA, a revoked leaf, an ended one and another charger's: the load balancer's word changes nothing."""
    mine, revoked = behind.issuing.leaf(), behind.issuing.leaf()
    ended = behind.issuing.leaf(not_after=behind.times.now() - timedelta(days=1))
    foreign = Authority.root("Stranger", now=behind.times.now()).leaf()
    behind.charger("CS-1", (mine, "active"), (revoked, "revoked"), (ended, "active"))
    behind.charger("CS-2", (behind.issuing.leaf("SN-2"), "active"))
    for leaf, charger_id in ((foreign, "CS-1"), (revoked, "CS-1"), (ended, "CS-1"), (mine, "CS-2")):
        said = header(leaf) | from_far()
        reply = await refusal(behind.dial(charger_id, also=said))
        assert reply.status_code in (401, 403)
    assert len(behind.reports.refused) == 4
    assert behind.door.sessions == []


@pytest.mark.parametrize("whole", [True, False])
async def test_the_same_header_from_elsewhere_is_refused_and_recorded(direct: World, whole: bool) -> None:
    leaf = direct.issuing.leaf()
    direct.charger("CS-1", (leaf, "active"))
    said = header(leaf, whole=whole) | from_far()
    assert (await refusal(direct.dial("CS-1", also=said))).status_code == 403
    assert direct.reports.refused == [("CS-1", "proxy-header-refused", 403)]
    assert direct.door.sessions == []


async def test_it_is_refused_even_beside_the_chargers_own_certificate(direct: World) -> None:
    own, other = direct.issuing.leaf(), direct.issuing.leaf("SN-2")
    direct.charger("CS-1", (own, "active"))
    reply = await refusal(direct.dial("CS-1", leaf=own, also=header(other)))
    assert reply.status_code == 403
    assert direct.reports.refused[-1][1] == "proxy-header-refused"


async def test_forwarded_addresses_from_elsewhere_are_not_believed(direct: World) -> None:
    leaf = direct.issuing.leaf()
    direct.charger("CS-1", (leaf, "active"))
    await admitted(direct, direct.dial("CS-1", leaf=leaf, also=from_far()))
    assert direct.door.sessions[0].info.remote_address == "127.0.0.1"


async def test_the_load_balancers_own_certificate_is_not_the_chargers(behind: World) -> None:
    leaf = behind.issuing.leaf()
    behind.charger("CS-1", (leaf, "active"))
    reply = await refusal(behind.dial("CS-1", leaf=leaf, also=from_far()))
    assert reply.status_code in (401, 403)


async def test_what_cannot_be_read_is_refused_before_anything_else(behind: World) -> None:
    behind.charger("CS-1", profiles=(2,))
    said = {"X-Amzn-Mtls-Clientcert-Subject": "CN=SN-1"} | from_far()
    assert (await refusal(behind.dial_basic("CS-1", also=said))).status_code == 400
    assert behind.reports.refused == [("CS-1", "proxy-header-malformed", 400)]


@pytest.mark.parametrize(("proto", "profile"), [("https", 2), ("http", None)])
async def test_without_a_certificate_the_load_balancers_protocol_says_the_profile(
    behind: World, proto: str, profile: int | None
) -> None:
    behind.charger("CS-1", profiles=(2,))
    dial = behind.dial_plain("CS-1", basic=("CS-1", PASSWORD), also=from_far(proto=proto))
    if profile is None:
        assert (await refusal(dial)).status_code in (401, 403)
    else:
        await admitted(behind, dial)
        assert behind.door.sessions[0].info.security_profile == profile


@pytest.mark.parametrize("text", ["10.0.0.1/24", "somewhere", "10.0.0.0/40"])
def test_what_is_no_network_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="mtls_proxies"):
        Proxies.of([text])


def test_an_address_written_as_ipv6_is_the_same_address() -> None:
    proxies = Proxies.of(["10.0.1.0/24"])
    assert proxies._speaks("::ffff:10.0.1.9")
    assert not proxies._speaks("::ffff:10.0.2.9")
    assert not proxies._speaks("not an address")
