"""What every certificate authority owes its callers: the gateway at the AWS peer, and the fake, by one suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import aiohttp
import pytest

from bfactors.ca import (
    AlreadyDone,
    IssuedChain,
    MalformedCsr,
    NotActive,
    NotReady,
    Permanent,
    SigningOrder,
    Transient,
)
from bfactors.check.leaf import findings
from bfactors.purpose import purpose
from bfactors.urgency import Urgency
from bfactors.x509 import is_root, parse_certificate, parse_certificates
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.retry import RetryPolicy
from simulator.aws import PeerConfig, RunningPeer, serve
from tests.core import pki
from tests.fakes.ca import ARN, START, CountedMetrics, FakeCa, LeapingTime
from tests.patience import PATIENCE_S

REALM = "charger-identity"
CSR = pki.csr("SN-1")
T = TypeVar("T")


class Side(Protocol):
    """An authority under test with the levers a test needs."""

    arn: str
    time: LeapingTime

    @property
    def ca(self) -> AwsPrivateCa | FakeCa: ...
    async def not_ready_for(self, duration_s: float) -> None: ...
    async def lose_next_answer(self, operation: str) -> None: ...
    async def throttle_next(self, operation: str) -> None: ...
    async def set_status(self, status: str) -> None: ...
    async def issued(self) -> int: ...


class FakeSide:
    """The fake."""

    def __init__(self) -> None:
        self.arn = ARN
        self.time = LeapingTime()
        self.ca = FakeCa(self.time)

    async def not_ready_for(self, duration_s: float) -> None:
        self.ca.ready_after = timedelta(seconds=duration_s)

    async def lose_next_answer(self, operation: str) -> None:
        self.ca.fail(operation, Transient("ConnectionClosed", "", may_have_happened=True), took_effect=True)

    async def throttle_next(self, operation: str) -> None:
        self.ca.fail(operation, Transient("ThrottlingException", "Rate exceeded"))

    async def set_status(self, status: str) -> None:
        self.ca.status = status

    async def issued(self) -> int:
        return len(self.ca.made)


_OPERATIONS = {"issue": "IssueCertificate", "fetch": "GetCertificate", "revoke": "RevokeCertificate"}


class AwsSide:
    """The gateway, an unmodified client in it, at the peer over HTTP; both read the test's clock."""

    def __init__(self, peer: RunningPeer, time: LeapingTime, ca: AwsPrivateCa, http: aiohttp.ClientSession):
        self.arn = peer.arns[REALM].issuing_arn
        self.peer = peer
        self.time = time
        self.ca = ca
        self._http = http

    async def not_ready_for(self, duration_s: float) -> None:
        object.__setattr__(self.peer.control.registry.config, "ready_delay", timedelta(seconds=duration_s))

    async def lose_next_answer(self, operation: str) -> None:
        await self.order({"operation": _OPERATIONS[operation], "after": "after-effect"})

    async def throttle_next(self, operation: str) -> None:
        await self.order({"operation": _OPERATIONS[operation], "error": "ThrottlingException"})

    async def set_status(self, status: str) -> None:
        await self._post("authority", {"arn": self.arn, "status": status})

    async def issued(self) -> int:
        return int((await self.stats())["certificates"][self.arn]["issued"])

    async def order(self, *faults: dict[str, Any]) -> None:
        """Faults for the calls to come."""
        await self._post("faults", list(faults))

    async def stats(self) -> Any:
        return await self._get("stats")

    async def log(self, operation: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = (await self._get(f"log?operation={operation}"))["entries"]
        return entries

    async def _get(self, path: str) -> Any:
        async with self._http.get(f"{self.peer.url}/_peer/{path}") as response:
            return await response.json()

    async def _post(self, path: str, document: object) -> None:
        async with self._http.post(f"{self.peer.url}/_peer/{path}", json=document) as response:
            assert response.status == 200, await response.text()


def aws_settings(url: str, **changes: Any) -> AwsSettings:
    values: dict[str, Any] = {
        "region": "eu-central-1",
        "endpoint_url": url,
        "access_key_id": "AKIATEST",
        "secret_access_key": "unused",
    }
    return AwsSettings(**(values | changes))


@asynccontextmanager
async def aws_side(
    state_dir: Path,
    *,
    settings: dict[str, Any] | None = None,
    calls_per_s: float = 15.0,
    metrics: CountedMetrics | None = None,
    **peer_settings: Any,
) -> AsyncIterator[AwsSide]:
    """A peer whose time is the test's, and the gateway to it."""
    peer = await serve(PeerConfig(state_dir, realms=(REALM,), **peer_settings))
    peer.clock.freeze()
    time = LeapingTime(peer.clock.now(), lambda moved_s: peer.clock.advance(timedelta(seconds=moved_s)))
    ca = AwsPrivateCa(
        aws_settings(peer.url, **(settings or {})),
        clock=time,
        metrics=metrics or CountedMetrics(),
        limits=CallLimits(calls_per_s, monotonic=time.monotonic, sleep=time.sleep),
        retry=RetryPolicy(uniform=lambda low, _: low, sleep=time.sleep),
    )
    await ca.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield AwsSide(peer, time, ca, http)
    finally:
        await ca.close()
        await peer.close()


@pytest.fixture(params=["aws", "fake"])
async def side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    if request.param == "fake":
        yield FakeSide()
        return
    async with aws_side(tmp_path) as opened:
        yield opened


def order_for(side: Side, **changes: Any) -> SigningOrder:
    """An order as the ledger makes it; whole seconds, four minutes to call."""
    now = side.time.now().replace(microsecond=0)
    values: dict[str, Any] = {
        "authority_arn": side.arn,
        "token": "0123456789abcdef0123456789abcdef",
        "csr_pem": CSR,
        "template": "EndEntityClientAuthCertificate/V1",
        "signing_algorithm": "SHA256WITHECDSA",
        "not_before": now - timedelta(hours=1),
        "not_after": now + timedelta(days=90),
        "call_before": now + timedelta(minutes=4),
    }
    return SigningOrder(**(values | changes))


async def made(side: Side, **changes: Any) -> tuple[str, IssuedChain]:
    reference = await side.ca.issue(order_for(side, **changes))
    return reference, await side.ca.fetch(side.arn, reference)


# ---------------------------------------------------------------- issuing


async def test_a_certificate_is_made_as_ordered_and_comes_with_its_chain(side: Side) -> None:
    order = order_for(side)
    reference = await side.ca.issue(order)
    chain = await side.ca.fetch(side.arn, reference)
    authority = parse_certificate((await side.ca.describe(side.arn)).certificate_pem)
    objections = findings(
        chain=parse_certificates(chain.pem),
        csr_pem=order.csr_pem,
        authority=authority,
        purpose=purpose("charging_station"),
        template=order.template,
        not_before=order.not_before,
        not_after=order.not_after,
    )
    assert objections == ()
    leaf = parse_certificate(chain.leaf_pem)
    assert (leaf.not_before, leaf.not_after) == (order.not_before, order.not_after)
    issuers = parse_certificates(chain.issuers_pem)
    assert issuers[0] == authority
    assert is_root(issuers[-1])


async def test_a_leaf_can_be_ordered_without_an_extended_key_usage(side: Side) -> None:
    template = purpose("charging_station").template_without_usage
    assert template is not None
    _, chain = await made(side, template=template)
    leaf = parse_certificate(chain.leaf_pem)
    assert (leaf.extended_key_usage, leaf.key_usage, leaf.is_ca) == (None, ("digital_signature",), False)


async def test_the_same_order_within_the_window_names_the_same_certificate(side: Side) -> None:
    order = order_for(side)
    first = await side.ca.issue(order)
    side.time.leap(239)
    assert await side.ca.issue(order) == first
    assert await side.issued() == 1


async def test_the_same_order_sent_at_the_same_moment_makes_one_certificate(side: Side) -> None:
    order = order_for(side)
    names = await asyncio.gather(*(side.ca.issue(order) for _ in range(5)))
    assert len(set(names)) == 1
    assert await side.issued() == 1


async def test_after_the_window_the_same_token_makes_another_certificate(side: Side) -> None:
    first = await side.ca.issue(order_for(side))
    order = order_for(side)
    side.time.leap(301)
    late = order_for(side, not_before=order.not_before, not_after=order.not_after)
    assert await side.ca.issue(late) != first
    assert await side.issued() == 2


async def test_no_call_leaves_once_its_time_has_passed(side: Side) -> None:
    order = order_for(side)
    side.time.leap(241)
    with pytest.raises(Transient) as raised:
        await side.ca.issue(order)
    assert not raised.value.may_have_happened
    assert await side.issued() == 0


async def test_an_answer_lost_after_the_effect_is_in_doubt_until_the_same_order_finds_it(side: Side) -> None:
    order = order_for(side)
    await side.lose_next_answer("issue")
    with pytest.raises(Transient) as raised:
        await side.ca.issue(order)
    assert raised.value.may_have_happened
    assert await side.issued() == 1
    reference = await side.ca.issue(order)
    await side.ca.fetch(side.arn, reference)
    assert await side.issued() == 1


async def test_a_throttled_call_may_be_repeated_and_has_certainly_not_happened(side: Side) -> None:
    await side.throttle_next("issue")
    with pytest.raises(Transient) as raised:
        await side.ca.issue(order_for(side))
    assert (raised.value.code, raised.value.may_have_happened) == ("ThrottlingException", False)
    await side.ca.issue(order_for(side))


async def test_a_csr_that_is_none_is_refused_for_good(side: Side) -> None:
    with pytest.raises(MalformedCsr):
        await side.ca.issue(
            order_for(
                side,
                csr_pem="-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            )
        )
    assert await side.issued() == 0


async def test_an_authority_nobody_knows_is_refused_for_good(side: Side) -> None:
    unknown = side.arn[:-1] + ("0" if side.arn[-1] != "0" else "1")
    with pytest.raises(Permanent) as raised:
        await side.ca.issue(order_for(side, authority_arn=unknown))
    assert raised.value.code == "ResourceNotFoundException"


async def test_a_disabled_authority_is_to_be_left_alone_and_says_so_when_described(side: Side) -> None:
    assert (await side.ca.describe(side.arn)).is_active
    await side.set_status("DISABLED")
    with pytest.raises(NotActive) as raised:
        await side.ca.issue(order_for(side))
    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s > 0
    described = await side.ca.describe(side.arn)
    assert (described.status, described.is_active) == ("DISABLED", False)


# ---------------------------------------------------------------- fetching


async def test_a_certificate_is_not_ready_before_its_time(side: Side) -> None:
    await side.not_ready_for(5)
    reference = await side.ca.issue(order_for(side))
    with pytest.raises(NotReady):
        await side.ca.fetch(side.arn, reference)
    side.time.leap(5)
    assert (await side.ca.fetch(side.arn, reference)).leaf_pem


async def test_a_certificate_nobody_made_is_refused_for_good(side: Side) -> None:
    with pytest.raises(Permanent):
        await side.ca.fetch(side.arn, f"{side.arn}/certificate/{'0' * 32}")


# ---------------------------------------------------------------- revoking


async def test_revoking_again_is_told_apart_and_the_certificate_can_still_be_fetched(side: Side) -> None:
    reference, chain = await made(side)
    serial = parse_certificate(chain.leaf_pem).serial_number
    await side.ca.revoke(side.arn, serial, "superseded")
    with pytest.raises(AlreadyDone):
        await side.ca.revoke(side.arn, serial, "superseded")
    assert await side.ca.fetch(side.arn, reference) == chain


async def test_a_revocation_whose_answer_was_lost_is_done_when_asked_again(side: Side) -> None:
    _, chain = await made(side)
    serial = parse_certificate(chain.leaf_pem).serial_number
    await side.lose_next_answer("revoke")
    with pytest.raises(Transient):
        await side.ca.revoke(side.arn, serial, "key_compromise")
    with pytest.raises(AlreadyDone):
        await side.ca.revoke(side.arn, serial, "key_compromise")


async def test_what_an_incident_wants_leaves_nothing_in_the_bucket_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[tuple[str, Urgency]] = []
    enter = CallLimits.enter

    async def noted(limits: CallLimits, arn: str, operation: str, urgency: Urgency) -> None:
        entered.append((operation, urgency))
        await enter(limits, arn, operation, urgency)

    monkeypatch.setattr(CallLimits, "enter", noted)
    async with aws_side(tmp_path) as side:
        reference, chain = await made(side)
        serial = parse_certificate(chain.leaf_pem).serial_number
        entered.clear()
        await side.ca.fetch(side.arn, reference, urgency=Urgency.SOON)
        await side.ca.revoke(side.arn, serial, "superseded", is_incident=True)
        for reason in ("superseded", "key_compromise"):
            with pytest.raises(AlreadyDone):
                await side.ca.revoke(side.arn, serial, reason)
        assert await side.ca.room_s(side.arn, Urgency.ROUTINE) == 0
    assert entered == [
        ("GetCertificate", Urgency.SOON),
        ("RevokeCertificate", Urgency.INCIDENT),
        ("RevokeCertificate", Urgency.ROUTINE),
        ("RevokeCertificate", Urgency.INCIDENT),
    ]


async def test_a_serial_number_the_authority_never_used_is_refused_for_good(side: Side) -> None:
    with pytest.raises(Permanent):
        await side.ca.revoke(side.arn, "abc", "superseded")


# ---------------------------------------------------------------- describing, lanes


async def test_a_description_holds_the_root_apart_from_the_issuers(side: Side) -> None:
    described = await side.ca.describe(side.arn)
    own = parse_certificate(described.certificate_pem)
    assert (described.arn, described.signing_algorithm) == (side.arn, "SHA256WITHECDSA")
    assert own.is_ca
    assert not is_root(own)
    assert described.root_pem is not None
    assert is_root(parse_certificate(described.root_pem))
    assert described.issuers_pem == ""
    assert described.not_after > START


async def test_a_certificate_can_be_had_from_a_lane_that_does_not_own_the_sockets(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        reference, chain = await on_another_lane(made(side))
        assert await side.ca.fetch(side.arn, reference) == chain
        await side.not_ready_for(60)
        pending = await side.ca.issue(order_for(side, token="another"))
        with pytest.raises(NotReady):
            await on_another_lane(side.ca.fetch(side.arn, pending))


async def on_another_lane(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work` run by a loop in a thread of its own, while this loop goes on."""
    return await asyncio.wait_for(asyncio.to_thread(asyncio.run, work), PATIENCE_S)
