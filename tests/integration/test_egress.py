"""The way out: which addresses are refused before anything is sent, and what is done to a host that misbehaves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509

from bfactors.errors import NotFetched
from gateways.egress.address import is_public
from gateways.egress.breaker import CLOSED_FOR_S, FAILURES_IN_A_ROW, Hosts
from gateways.egress.egress import HttpEgress
from gateways.metrics import PrometheusMetrics
from tests.fakes.revocation import Responder, responding


class Names(AbstractResolver):
    """Each name's addresses, one list a time it is asked for; the last one stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): lists for name, lists in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        lists = self.answers.get(host)
        if lists is None:
            raise OSError(f"no such name: {host}")
        addresses = lists.pop(0) if len(lists) > 1 else lists[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


class Way:
    """An egress with its clock and its numbers."""

    def __init__(self, names: Names | None = None, *allowed: str) -> None:
        self.now_s = 0.0
        self.metrics = PrometheusMetrics(strict=True)
        self.egress = HttpEgress(
            self.metrics, allowed_hosts=allowed, names=names, monotonic=lambda: self.now_s
        )

    async def __aenter__(self) -> Way:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.egress.close()

    async def refusal(self, url: str, within_s: float = 5.0, size_bytes: int = 65_536) -> str:
        with pytest.raises(NotFetched) as caught:
            await self.egress.fetch(url, size_bytes=size_bytes, within_s=within_s)
        return caught.value.reason

    def counted(self, outcome: str) -> float:
        found = self.metrics.registry.get_sample_value("bf_egress_requests_total", {"outcome": outcome})
        return found or 0.0


@pytest.fixture
async def responder() -> AsyncIterator[Responder]:
    async with responding() as found:
        yield found


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.0.1", "198.18.0.1", "203.0.113.1",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fc00::1", "fd00:ec2::254",
        "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2001:db8::1", "no address", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_the_internets_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "172.32.0.1"]
)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/", "private-address"),
        ("http://[::1]/", "private-address"),
        ("http://[::ffff:127.0.0.1]/", "private-address"),
        ("http://169.254.169.254/latest/meta-data/", "private-address"),
        ("http://inside.example/", "private-address"),
        ("http://mixed.example/", "private-address"),
        ("http://INSIDE.example/", "private-address"),
        ("file:///etc/passwd", "bad-address"),
        ("ftp://good.example/", "bad-address"),
        ("gopher://good.example/", "bad-address"),
        ("//good.example/", "bad-address"),
        ("good.example/ocsp", "bad-address"),
        ("", "bad-address"),
        ("http://", "bad-address"),
        ("http://user@good.example/", "bad-address"),
        ("http://user:word@good.example/", "bad-address"),
        ("http://good.example@127.0.0.1/", "bad-address"),
        ("http://good.example\\@127.0.0.1/", "bad-address"),
        ("http://good.example/#part", "bad-address"),
        ("http://good.example/\r\nHost: other", "bad-address"),
        ("http://good.example/a b", "bad-address"),
        ("http://good.example:22/", "bad-address"),
        ("http://good.example:25/", "bad-address"),
        ("http://good.example:0/", "bad-address"),
        ("http://good.example:99999/", "bad-address"),
        ("http://g\u00f6\u00f6d.example/", "bad-address"),
        ("http://" + "a" * 2000 + ".example/", "bad-address"),
        ("http://[::1/", "bad-address"),
    ],
)
async def test_an_address_that_must_not_be_asked_is_refused(url: str, reason: str) -> None:
    names = Names(
        inside_example=[["10.0.0.1"]], INSIDE_example=[["10.0.0.1"]], mixed_example=[["8.8.8.8", "127.0.0.1"]]
    )
    async with Way(names) as way:
        assert await way.refusal(url) == reason
        assert way.counted(reason) == 1


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost"])
async def test_odd_spellings_of_loopback_reach_nobody(responder: Responder, host: str) -> None:
    async with Way() as way:
        assert await way.refusal(f"http://{host}:{responder.port}/crl") in (
            "private-address",
            "bad-address",
            "unreachable",
        )
    assert responder.asked == []


async def test_a_name_that_changes_its_mind_is_resolved_once_and_checked_each_time(
    responder: Responder,
) -> None:
    names = Names(rebound_example=[["192.0.2.1", "127.0.0.1"], ["127.0.0.1"]])
    async with Way(names) as way:
        for _ in range(2):
            assert await way.refusal(f"http://rebound.example:{responder.port}/crl") == "private-address"
    assert names.asked == ["rebound.example"] * 2
    assert responder.asked == []


async def test_a_host_named_in_settings_may_lie_anywhere(responder: Responder) -> None:
    names = Names(ocsp_depot=[["127.0.0.1"]])
    async with Way(names, "OCSP.depot", "127.0.0.1") as way:
        for base in (responder.url, f"http://ocsp.depot:{responder.port}"):
            found = await way.egress.fetch(f"{base}/crl", size_bytes=65_536, within_s=5)
            assert x509.load_der_x509_crl(found).issuer == responder.issuer.name
        assert way.counted("answered") == 2
    assert names.asked == ["ocsp.depot"]
    assert "Cookie" not in responder.headers[0]
    assert responder.headers[0]["Accept-Encoding"] == "identity"


async def test_a_redirect_is_not_followed(responder: Responder) -> None:
    async with Way(None, "127.0.0.1") as way:
        assert await way.refusal(f"{responder.url}/moved") == "not-ok"
    assert responder.asked == ["/moved"]


async def test_what_does_not_end_is_cut_at_its_size_and_what_does_not_come_in_its_time(
    responder: Responder,
) -> None:
    async with Way(None, "127.0.0.1") as way:
        assert await way.refusal(f"{responder.url}/flood") == "too-large"
        assert await way.refusal(f"{responder.url}/silent", within_s=0.1) == "timeout"
        assert way.counted("timeout") == 1


async def test_a_host_that_fails_in_a_row_is_left_alone_and_then_tried_again(responder: Responder) -> None:
    async with Way(None, "127.0.0.1") as way:
        for _ in range(FAILURES_IN_A_ROW):
            assert await way.refusal(f"{responder.url}/broken") == "server-error"
        assert await way.refusal(f"{responder.url}/broken") == "left-alone"
        assert len(responder.asked) == FAILURES_IN_A_ROW
        way.now_s += CLOSED_FOR_S
        assert await way.refusal(f"{responder.url}/broken") == "server-error"
        assert await way.refusal(f"{responder.url}/crl") == "left-alone"
        way.now_s += CLOSED_FOR_S
        await way.egress.fetch(f"{responder.url}/crl", size_bytes=65_536, within_s=5)
        assert await way.refusal(f"{responder.url}/broken") == "server-error"
        assert await way.refusal(f"{responder.url}/none") == "not-ok"


async def test_a_host_nobody_answers_for_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Way(None, "127.0.0.1") as way:
            assert await way.refusal(f"http://127.0.0.1:{taken.getsockname()[1]}/") == "unreachable"
    async with Way(Names()) as way:
        assert await way.refusal("http://nowhere.example/") == "unreachable"


async def test_one_host_is_asked_a_few_things_at_once(responder: Responder) -> None:
    responder.hold = asyncio.Event()
    async with Way(None, "127.0.0.1") as way, asyncio.timeout(10), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(way.egress.fetch(f"{responder.url}/crl", size_bytes=65_536, within_s=9))
        async with responder.arrived:
            await responder.arrived.wait_for(lambda: len(responder.bodies) >= 8)
        assert len(responder.asked) == 8
        responder.hold.set()
    assert len(responder.asked) == 20


def test_only_so_many_hosts_are_remembered_and_those_in_use_are() -> None:
    hosts = Hosts(remembered=2)
    busy = hosts.of("a.example", 80)
    busy.in_use = 1
    for name in ("b.example", "c.example", "d.example"):
        hosts.of(name, 80)
    assert len(hosts) == 2
    assert hosts.of("A.example", 80) is busy
