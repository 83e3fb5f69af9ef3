"""How the AWS peer behaves over time and under faults: token window, readiness, quotas, every error, lost answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from simulator.aws import QUOTAS_PER_S
from tests.contract.test_aws_peer_client import (
    CHARGER,
    CLIENT_TEMPLATE,
    Desk,
    error_code,
    make_csr,
    open_desk,
)
from tests.patience import PATIENCE_S


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A peer of one realm whose time stands still until a test moves it."""
    async with open_desk(tmp_path, realms=(CHARGER,)) as opened:
        opened.peer.clock.freeze()
        yield opened


async def certificate_count(desk: Desk) -> int:
    return int((await desk.peer_get("stats"))["certificates"][desk.issuing]["issued"])


async def test_a_token_gives_the_same_certificate_at_4_59_and_another_at_5_01(desk: Desk) -> None:
    first = await desk.issue(IdempotencyToken="job-1")
    desk.peer.clock.advance(timedelta(minutes=4, seconds=59))
    assert await desk.issue(IdempotencyToken="job-1") == first
    assert await certificate_count(desk) == 1
    desk.peer.clock.advance(timedelta(seconds=2))
    assert await desk.issue(IdempotencyToken="job-1") != first
    stats = await desk.peer_get("stats")
    assert stats["certificates"][desk.issuing]["issued"] == 2
    assert stats["token_conflicts"] == []
    (repeated,) = stats["keys_certified_repeatedly"]
    assert first.rpartition("/")[2] in repeated["serials"]


async def test_the_window_counts_from_the_issue_and_not_from_the_last_repeat(desk: Desk) -> None:
    first = await desk.issue(IdempotencyToken="job-1")
    for _ in range(2):
        desk.peer.clock.advance(timedelta(minutes=2))
        assert await desk.issue(IdempotencyToken="job-1") == first
    desk.peer.clock.advance(timedelta(seconds=61))
    assert await desk.issue(IdempotencyToken="job-1") != first


async def test_without_a_token_every_call_issues(desk: Desk) -> None:
    assert await desk.issue() != await desk.issue()


async def test_calls_with_one_token_at_the_same_moment_issue_once(desk: Desk) -> None:
    arns = await asyncio.gather(*(desk.issue(IdempotencyToken="job-1") for _ in range(10)))
    assert len(set(arns)) == 1
    assert await certificate_count(desk) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Validity": {"Type": "DAYS", "Value": 31}},
        {"TemplateArn": None},
        {"Csr": make_csr("CN=CS-2,O=Operator")},
        {"SigningAlgorithm": "SHA384WITHECDSA"},
        {"ApiPassthrough": {"Subject": {"CommonName": "x"}}},
    ],
)
async def test_a_token_with_other_parameters_answers_the_first_certificate_and_is_written_down(
    desk: Desk, changes: dict[str, Any]
) -> None:
    first = await desk.issue(IdempotencyToken="job-1")
    assert await desk.issue(IdempotencyToken="job-1", **changes) == first
    (conflict,) = (await desk.peer_get("stats"))["token_conflicts"]
    assert (conflict["token"], conflict["first_arn"]) == ("job-1", first)
    assert conflict["first_hash"] != conflict["later_hash"]


async def test_a_certificate_is_in_progress_until_it_is_ready(tmp_path: Path) -> None:
    async with open_desk(tmp_path, realms=(CHARGER,), ready_delay=timedelta(seconds=5)) as desk:
        desk.peer.clock.freeze()
        arn = await desk.issue()
        desk.peer.clock.advance(timedelta(seconds=4))
        with pytest.raises(desk.pca.exceptions.RequestInProgressException):
            await desk.get(arn)
        desk.peer.clock.advance(timedelta(seconds=1))
        await desk.pca.get_waiter("certificate_issued").wait(
            CertificateAuthorityArn=desk.issuing, CertificateArn=arn
        )
        leaf, _ = await desk.get(arn)
    assert f"{leaf.serial_number:032x}" == arn.rpartition("/")[2]


async def test_quotas_admit_a_seconds_worth_and_refill_with_time(desk: Desk) -> None:
    async def describe() -> str:
        try:
            await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "ok"

    quota = int(QUOTAS_PER_S["DescribeCertificateAuthority"])
    outcomes = [await describe() for _ in range(quota + 2)]
    assert outcomes == ["ok"] * quota + ["ThrottlingException"] * 2
    desk.peer.clock.advance(timedelta(seconds=0.25))
    assert [await describe() for _ in range(6)] == ["ok"] * 5 + ["ThrottlingException"]
    await desk.issue()  # another operation has a bucket of its own


ERRORS = [
    "ThrottlingException", "RequestInProgressException", "RequestFailedException", "ConcurrentModificationException",
    "RequestAlreadyProcessedException", "LimitExceededException", "InvalidStateException", "MalformedCSRException",
    "InvalidArgsException", "ValidationException", "InvalidArnException", "ResourceNotFoundException",
    "AccessDeniedException", "InvalidRequestException", "InternalFailure", "ServiceUnavailable",
]  # fmt: skip


@pytest.mark.parametrize("code", ERRORS)
async def test_every_error_can_be_ordered_for_a_number_of_calls_and_has_no_effect(
    desk: Desk, code: str
) -> None:
    await desk.peer_post("faults", {"operation": "IssueCertificate", "error": code, "count": 2})
    for _ in range(2):
        with pytest.raises(ClientError) as raised:
            await desk.issue(IdempotencyToken="job-1")
        assert error_code(raised) == code
        status = raised.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status == {"InternalFailure": 500, "ServiceUnavailable": 503}.get(code, 400)
    assert await certificate_count(desk) == 0
    await desk.issue(IdempotencyToken="job-1")


async def test_an_answer_lost_after_the_effect_is_found_again_by_its_token(desk: Desk) -> None:
    await desk.peer_post("faults", {"operation": "IssueCertificate", "after": "after-effect"})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        await desk.issue(IdempotencyToken="job-1")
    assert await certificate_count(desk) == 1
    arn = await desk.issue(IdempotencyToken="job-1")
    assert await certificate_count(desk) == 1
    entries = (await desk.peer_get("log?operation=IssueCertificate&token=job-1"))["entries"]
    assert [(entry["outcome"], entry["took_effect"]) for entry in entries] == [
        ("ConnectionClosed", True),
        ("ok", True),
    ]
    assert entries[0]["certificate_arn"] == entries[1]["certificate_arn"] == arn
    assert entries[0]["parameter_hash"] == entries[1]["parameter_hash"]
    assert entries[0]["template"] == CLIENT_TEMPLATE


async def test_a_connection_closed_before_the_effect_leaves_nothing_behind(desk: Desk) -> None:
    await desk.peer_post("faults", {"operation": "IssueCertificate", "error": "ConnectionClosed"})
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        await desk.issue(IdempotencyToken="job-1")
    assert await certificate_count(desk) == 0


async def test_an_error_after_the_effect_hides_a_success(desk: Desk) -> None:
    fault = {"operation": "IssueCertificate", "error": "InternalFailure", "after": "after-effect"}
    await desk.peer_post("faults", fault)
    with pytest.raises(ClientError) as raised:
        await desk.issue(IdempotencyToken="job-1")
    assert error_code(raised) == "InternalFailure"
    assert await certificate_count(desk) == 1


async def test_faults_go_on_forever_until_they_are_deleted(desk: Desk) -> None:
    await desk.peer_post("faults", [{"error": "ServiceUnavailable", "count": "forever"}])
    for _ in range(3):
        with pytest.raises(ClientError):
            await desk.issue()
    assert len((await desk.peer_get("faults"))["faults"]) == 1
    async with desk.http.delete(f"{desk.peer.url}/_peer/faults") as response:
        assert response.status == 200
    await desk.issue()


async def test_a_fault_can_let_calls_pass_first_and_spares_other_operations(desk: Desk) -> None:
    fault = {"operation": "GetCertificate", "error": "RequestInProgressException", "skip": 1}
    await desk.peer_post("faults", fault)
    arn = await desk.issue()
    await desk.get(arn)
    with pytest.raises(desk.pca.exceptions.RequestInProgressException):
        await desk.get(arn)
    await desk.get(arn)


async def test_a_delay_holds_one_call_and_not_the_others(tmp_path: Path) -> None:
    reached, released = asyncio.Event(), asyncio.Event()
    delays_s = []

    async def pause(delay_s: float) -> None:
        delays_s.append(delay_s)
        reached.set()
        await released.wait()

    async with open_desk(tmp_path, realms=(CHARGER,), pause=pause) as desk:
        await desk.peer_post("faults", {"operation": "IssueCertificate", "delay_s": 7})
        slow = asyncio.ensure_future(desk.issue())
        await asyncio.wait_for(reached.wait(), PATIENCE_S)
        await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
        assert await certificate_count(desk) == 0
        assert not slow.done()
        released.set()
        await slow
        assert await certificate_count(desk) == 1
    assert delays_s == [7]


async def test_a_wrong_fault_order_is_refused(desk: Desk) -> None:
    for order in ({"operation": "X", "count": 0}, {"nonsense": 1}, {"after": "sometime"}):
        async with desk.http.post(f"{desk.peer.url}/_peer/faults", json=order) as response:
            assert response.status == 400


async def test_a_disabled_authority_issues_nothing_but_still_gives_what_it_issued(desk: Desk) -> None:
    arn = await desk.issue()
    await desk.peer_post("authority", {"arn": desk.issuing, "status": "DISABLED"})
    with pytest.raises(desk.pca.exceptions.InvalidStateException):
        await desk.issue()
    await desk.get(arn)
    answer = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
    assert answer["CertificateAuthority"]["Status"] == "DISABLED"


async def test_an_authority_past_its_end_is_expired(desk: Desk) -> None:
    await desk.peer_post("clock", {"advance_s": 6 * 366 * 86400})
    answer = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
    assert answer["CertificateAuthority"]["Status"] == "EXPIRED"
    with pytest.raises(desk.pca.exceptions.InvalidStateException):
        await desk.issue()


async def test_the_log_tells_no_key_and_no_request_body(desk: Desk) -> None:
    csr = make_csr("CN=very-secret-subject")
    await desk.issue(Csr=csr, IdempotencyToken="job-1")
    async with desk.http.get(f"{desk.peer.url}/_peer/log") as response:
        text = await response.text()
    assert "job-1" in text
    assert "very-secret-subject" not in text
    assert "BEGIN" not in text


async def test_it_issues_more_than_150_certificates_a_second(tmp_path: Path) -> None:
    """Measured in processor time, client included, so that a busy machine does not fail it."""
    async with open_desk(tmp_path, realms=(CHARGER,), quotas_per_s={}) as desk:
        csr = make_csr()
        await desk.issue(Csr=csr)
        started = time.process_time()
        await asyncio.gather(*(desk.issue(Csr=csr, IdempotencyToken=f"t{n}") for n in range(150)))
        assert time.process_time() - started < 1.0
