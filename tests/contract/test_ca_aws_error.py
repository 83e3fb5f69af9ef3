"""The gateway's view of everything that goes wrong: each error of AWS in its class, silence, circuits."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bfactors.ca import (
    AlreadyDone,
    CaError,
    MalformedCsr,
    NotActive,
    NotReady,
    Permanent,
    QuotaExhausted,
    Transient,
)
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.call_limits import CallLimits
from gateways.ca.circuit import Circuit
from gateways.ca.retry import RetryPolicy
from tests.contract.test_ca_aws import AwsSide, aws_settings, aws_side, order_for
from tests.fakes.ca import CountedMetrics, LeapingTime


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[AwsSide]:
    async with aws_side(tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- every error

ISSUE_ERRORS: list[tuple[str, type[CaError], bool]] = [
    ("ThrottlingException", Transient, False),
    ("TooManyRequestsException", Transient, False),
    ("InternalFailure", Transient, True),
    ("ServiceUnavailable", Transient, True),
    ("RequestFailedException", Transient, True),
    ("LimitExceededException", QuotaExhausted, False),
    ("InvalidStateException", NotActive, False),
    ("MalformedCSRException", MalformedCsr, False),
    ("InvalidArgsException", Permanent, False),
    ("ValidationException", Permanent, False),
    ("InvalidArnException", Permanent, False),
    ("ResourceNotFoundException", Permanent, False),
    ("AccessDeniedException", Permanent, False),
    ("AnErrorOfNextYear", Permanent, False),
    ("ExpiredTokenException", Transient, False),
    ("UnrecognizedClientException", Transient, False),
]


@pytest.mark.parametrize(("code", "kind", "may_have_happened"), ISSUE_ERRORS)
async def test_an_error_of_issuing_has_its_class_and_its_own_name(
    side: AwsSide, code: str, kind: type[CaError], may_have_happened: bool
) -> None:
    await side.order({"operation": "IssueCertificate", "error": code})
    with pytest.raises(CaError) as raised:
        await side.ca.issue(order_for(side))
    assert type(raised.value) is kind
    assert (raised.value.code, raised.value.may_have_happened) == (code, may_have_happened)
    assert await side.issued() == 0
    assert len(await side.log("IssueCertificate")) == 1, "the client must not repeat a call by itself"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestInProgressException", NotReady),
        ("RequestAlreadyProcessedException", AlreadyDone),
        ("ConcurrentModificationException", Transient),
        ("RequestFailedException", Transient),
        ("LimitExceededException", QuotaExhausted),
        ("InvalidStateException", NotActive),
        ("InvalidRequestException", Permanent),
        ("ResourceNotFoundException", Permanent),
    ],
)
async def test_an_error_of_revoking_has_its_class(side: AwsSide, code: str, kind: type[CaError]) -> None:
    await side.order({"operation": "RevokeCertificate", "error": code})
    with pytest.raises(CaError) as raised:
        await side.ca.revoke(side.arn, "abc", "superseded")
    assert type(raised.value) is kind
    assert len(await side.log("RevokeCertificate")) == 1


async def test_a_failure_the_service_does_not_explain_is_to_be_repeated_only_a_few_times(
    side: AwsSide,
) -> None:
    await side.order({"operation": "IssueCertificate", "error": "RequestFailedException"})
    with pytest.raises(Transient) as raised:
        await side.ca.issue(order_for(side))
    assert raised.value.bounded


async def test_a_denial_says_that_it_was_the_policy(side: AwsSide) -> None:
    await side.order({"operation": "IssueCertificate", "error": "AccessDeniedException"})
    with pytest.raises(Permanent, match="CA policy denied"):
        await side.ca.issue(order_for(side))


# ---------------------------------------------------------------- silence


async def test_a_call_that_found_nobody_listening_has_certainly_not_happened() -> None:
    with socket.socket() as reserved:  # bound, never listening
        reserved.bind(("127.0.0.1", 0))
        time = LeapingTime()
        ca = _unconnected(f"http://127.0.0.1:{reserved.getsockname()[1]}", time)
        await ca.start()
        try:
            with pytest.raises(Transient) as raised:
                await ca.issue(order_for(_Nowhere(time)))
        finally:
            await ca.close()
    assert not raised.value.may_have_happened


async def test_a_connection_reset_with_the_call_on_it_leaves_it_in_doubt() -> None:
    """aiobotocore reports this reset under the same name as a refused connection; only its cause tells them apart."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Linger 0 turns the close into a reset, as a dying host or a firewall does.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    server = await asyncio.start_server(reset, "127.0.0.1", 0)
    time = LeapingTime()
    ca = _unconnected(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", time)
    await ca.start()
    try:
        with pytest.raises(Transient) as raised:
            await ca.issue(order_for(_Nowhere(time)))
    finally:
        await ca.close()
        server.close()
    assert raised.value.may_have_happened


async def test_an_answer_that_does_not_come_in_time_leaves_the_call_in_doubt(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def hold(_: float) -> None:
        await held.wait()

    async with aws_side(tmp_path, settings={"read_timeout_s": 0.2}, pause=hold) as side:
        await side.order({"operation": "IssueCertificate", "after": "after-effect", "delay_s": 1})
        with pytest.raises(Transient) as raised:
            await side.ca.issue(order_for(side))
        held.set()
        assert raised.value.may_have_happened
        await side.ca.issue(order_for(side))
        assert await side.issued() == 1


async def test_an_answer_that_is_no_answer_leaves_the_call_in_doubt() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    time = LeapingTime()
    ca = _unconnected(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", time)
    await ca.start()
    try:
        with pytest.raises(Transient) as raised:
            await ca.issue(order_for(_Nowhere(time)))
    finally:
        await ca.close()
        server.close()
    assert raised.value.may_have_happened


async def test_a_closed_gateway_sends_nothing(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        await side.ca.close()
        with pytest.raises(Transient) as raised:
            await side.ca.issue(order_for(side))
        assert not raised.value.may_have_happened
        assert await side.issued() == 0


class _Nowhere:
    """What `order_for` needs of a side that has no authority."""

    arn = "arn:aws:acm-pca:eu-central-1:000000000000:certificate-authority/1"

    def __init__(self, time: LeapingTime) -> None:
        self.time = time
        self.ca: Any = None

    async def not_ready_for(self, duration_s: float) -> None: ...
    async def lose_next_answer(self, operation: str) -> None: ...
    async def throttle_next(self, operation: str) -> None: ...
    async def set_status(self, status: str) -> None: ...
    async def issued(self) -> int:
        return 0


def _unconnected(url: str, time: LeapingTime) -> AwsPrivateCa:
    return AwsPrivateCa(
        aws_settings(url, connect_timeout_s=10.0, read_timeout_s=1.0),
        clock=time,
        metrics=CountedMetrics(),
        limits=CallLimits(monotonic=time.monotonic, sleep=time.sleep),
        retry=RetryPolicy(sleep=time.sleep),
    )


# ---------------------------------------------------------------- circuits


async def test_an_exhausted_quota_is_not_asked_again_before_the_circuit_lets_one_call_through(
    side: AwsSide,
) -> None:
    await side.order({"operation": "IssueCertificate", "error": "LimitExceededException"})
    for _ in range(3):
        with pytest.raises(QuotaExhausted) as raised:
            await side.ca.issue(order_for(side))
        assert 0 < (raised.value.retry_after_s or 0) <= 30
    assert len(await side.log("IssueCertificate")) == 1
    side.time.leap(30)
    await side.ca.issue(order_for(side))
    assert len(await side.log("IssueCertificate")) == 2


async def test_a_disabled_authority_is_probed_less_and_less_often_and_serves_again_when_enabled(
    side: AwsSide,
) -> None:
    await side.set_status("DISABLED")
    waits = []
    for _ in range(6):
        with pytest.raises(NotActive) as raised:
            await side.ca.issue(order_for(side))
        waits.append(raised.value.retry_after_s)
        side.time.leap(raised.value.retry_after_s or 0)
    assert waits == [30, 60, 120, 240, 300, 300]
    assert len(await side.log("IssueCertificate")) == 6
    await side.set_status("ACTIVE")
    await side.ca.issue(order_for(side))
    await side.ca.issue(order_for(side, token="another"))


async def test_a_circuit_open_for_issuing_does_not_hold_up_fetching(side: AwsSide) -> None:
    reference = await side.ca.issue(order_for(side))
    await side.set_status("DISABLED")
    with pytest.raises(NotActive):
        await side.ca.issue(order_for(side, token="another"))
    assert (await side.ca.fetch(side.arn, reference)).leaf_pem


def test_calls_that_fail_together_open_the_circuit_once() -> None:
    circuit = Circuit(first_open_s=30)
    for _ in range(5):
        circuit.failed(NotActive("InvalidStateException", ""), 100.0)
    with pytest.raises(NotActive) as raised:
        circuit.check(100.0)
    assert raised.value.retry_after_s == 30


def test_an_open_circuit_lets_one_probe_through_and_holds_the_others_until_its_outcome() -> None:
    circuit = Circuit(first_open_s=30)
    circuit.failed(NotActive("InvalidStateException", ""), 100.0)
    circuit.check(130.0)
    with pytest.raises(NotActive):
        circuit.check(130.1)
    circuit.succeeded()
    circuit.check(130.2)


def test_a_probe_whose_outcome_is_never_told_does_not_keep_the_circuit_open_for_ever() -> None:
    circuit = Circuit(first_open_s=30)
    circuit.failed(NotActive("InvalidStateException", ""), 100.0)
    circuit.check(130.0)
    circuit.failed(Transient("ReadTimeoutError", "", may_have_happened=True), 135.0)
    with pytest.raises(NotActive):
        circuit.check(140.0)
    circuit.check(160.0)


def test_a_refusal_that_lies_in_the_request_closes_the_circuit() -> None:
    circuit = Circuit(first_open_s=30)
    circuit.failed(QuotaExhausted("LimitExceededException", ""), 100.0)
    circuit.check(130.0)
    circuit.failed(MalformedCsr("MalformedCSRException", ""), 131.0)
    assert circuit.reason is None
    circuit.check(131.0)


# ---------------------------------------------------------------- own repeats, numbers


async def test_reading_what_an_authority_is_survives_a_few_failures(side: AwsSide) -> None:
    await side.order(
        {"operation": "DescribeCertificateAuthority", "error": "ThrottlingException", "count": 2},
        {"operation": "GetCertificateAuthorityCertificate", "error": "ServiceUnavailable"},
    )
    assert (await side.ca.describe(side.arn)).is_active
    assert len(await side.log("DescribeCertificateAuthority")) == 3
    assert [wait for wait in side.time.slept_s if wait] == [0.2, 0.2, 0.2]


async def test_the_policy_gives_up_after_its_attempts_and_never_repeats_what_is_final() -> None:
    time = LeapingTime()
    calls: list[str] = []

    async def call(error: CaError) -> None:
        calls.append(error.code)
        raise error

    policy = RetryPolicy(attempts=3, uniform=lambda _, high: high, sleep=time.sleep)
    with pytest.raises(Transient):
        await policy.run(lambda: call(Transient("a", "")))
    with pytest.raises(Permanent):
        await policy.run(lambda: call(Permanent("b", "")))
    with pytest.raises(QuotaExhausted):
        await policy.run(lambda: call(QuotaExhausted("c", "")))
    assert calls == ["a", "a", "a", "b", "c"]
    assert time.slept_s == [0.2, pytest.approx(0.6)]


async def test_every_call_is_counted_by_outcome_and_timed(tmp_path: Path) -> None:
    metrics = CountedMetrics()
    async with aws_side(tmp_path, metrics=metrics) as side:
        await side.throttle_next("issue")
        with pytest.raises(Transient):
            await side.ca.issue(order_for(side))
        await side.ca.issue(order_for(side))
        side.time.leap(timedelta(minutes=5).total_seconds())
        with pytest.raises(Transient):
            await side.ca.issue(order_for(side, call_before=side.time.now()))
    assert metrics.counts == {
        ("bf_ca_calls_total", "IssueCertificate", "ThrottlingException"): 1,
        ("bf_ca_calls_total", "IssueCertificate", "ok"): 1,
        ("bf_ca_calls_total", "IssueCertificate", "CallWindowPassed"): 1,
    }
    assert metrics.observed == {("bf_ca_call_seconds", "IssueCertificate"): 2}
