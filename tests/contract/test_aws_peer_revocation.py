"""Revocation at the AWS peer, the lists that follow it, and audit reports read through an S3 client."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509

from tests.contract.test_aws_peer_client import (
    CHARGER,
    CLIENT_TEMPLATE,
    Desk,
    aws_client,
    error_code,
    make_csr,
    open_desk,
    template_arn,
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A peer of one realm whose time stands still; a revocation takes 30 minutes to be published."""
    async with open_desk(tmp_path, realms=(CHARGER,)) as opened:
        opened.peer.clock.freeze()
        yield opened


async def revoke(desk: Desk, serial: str, reason: str = "SUPERSEDED", authority: str | None = None) -> None:
    await desk.pca.revoke_certificate(
        CertificateAuthorityArn=authority or desk.issuing, CertificateSerial=serial, RevocationReason=reason
    )


async def read_crl(desk: Desk, arn: str | None = None) -> x509.CertificateRevocationList:
    identifier = (arn or desk.issuing).rpartition("/")[2]
    async with desk.http.get(f"{desk.peer.url}/crl/{identifier}.crl") as response:
        assert response.status == 200
        assert response.content_type == "application/pkix-crl"
        return x509.load_der_x509_crl(await response.read())


def crl_number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


async def test_a_revoked_certificate_is_in_the_list_after_the_lag_and_not_before(desk: Desk) -> None:
    answer = await desk.pca.get_certificate_authority_certificate(CertificateAuthorityArn=desk.issuing)
    issuer = x509.load_pem_x509_certificate(answer["Certificate"].encode())
    leaf = await desk.issued()
    empty = await read_crl(desk)
    assert empty.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # P-256 here
    assert len(empty) == 0

    await revoke(desk, f"{leaf.serial_number:x}", "KEY_COMPROMISE")
    revoked_at = desk.peer.clock.now()
    desk.peer.clock.advance(timedelta(minutes=29, seconds=59))
    assert len(await read_crl(desk)) == 0
    desk.peer.clock.advance(timedelta(seconds=1))
    crl = await read_crl(desk)
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # P-256 here
    entry = crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == revoked_at.replace(microsecond=0)
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    assert crl_number(crl) > crl_number(empty)
    assert crl.next_update_utc == crl.last_update_utc + timedelta(days=7)


async def test_a_list_is_signed_anew_only_when_something_changed_or_half_its_life_is_over(desk: Desk) -> None:
    first = await read_crl(desk)
    desk.peer.clock.advance(timedelta(days=3))
    assert await read_crl(desk) == first
    desk.peer.clock.advance(timedelta(days=1))
    second = await read_crl(desk)
    assert crl_number(second) == crl_number(first) + 1
    assert second.last_update_utc > first.last_update_utc


@pytest.mark.parametrize("spelling", ["plain", "colons", "upper", "unpadded"])
async def test_a_serial_number_may_be_spelled_in_several_ways(desk: Desk, spelling: str) -> None:
    plain = f"{(await desk.issued()).serial_number:032x}"
    colons = ":".join(plain[index : index + 2] for index in range(0, 32, 2))
    await revoke(
        desk, {"colons": colons, "upper": plain.upper(), "unpadded": plain.lstrip("0")}.get(spelling, plain)
    )
    with pytest.raises(desk.pca.exceptions.RequestAlreadyProcessedException):
        await revoke(desk, plain)


@pytest.mark.parametrize("serial", ["xyz", "0x12", "1:2:3", "", "12_34"])
async def test_a_serial_number_that_is_not_hexadecimal_is_refused(desk: Desk, serial: str) -> None:
    with pytest.raises(desk.pca.exceptions.InvalidRequestException):
        await revoke(desk, serial)


async def test_an_unknown_serial_number_and_an_unknown_reason_are_refused(desk: Desk) -> None:
    with pytest.raises(desk.pca.exceptions.ResourceNotFoundException):
        await revoke(desk, "abcdef")
    leaf = await desk.issued()
    with pytest.raises(ClientError) as raised:
        await revoke(desk, f"{leaf.serial_number:x}", "CERTIFICATE_HOLD")
    assert error_code(raised) == "ValidationException"


async def test_a_root_cannot_revoke_itself_but_can_revoke_its_subordinate(desk: Desk) -> None:
    root = desk.peer.arns[CHARGER].root_arn
    serials = {}
    for arn in (root, desk.issuing):
        described = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=arn)
        serials[arn] = described["CertificateAuthority"]["Serial"]
    with pytest.raises(desk.pca.exceptions.InvalidRequestException):
        await revoke(desk, serials[root], authority=root)
    await revoke(desk, serials[desk.issuing], "CESSATION_OF_OPERATION", root)
    desk.peer.clock.advance(timedelta(minutes=30))
    assert len(await read_crl(desk, root)) == 1


async def test_a_certificate_still_being_issued_cannot_be_revoked_yet(tmp_path: Path) -> None:
    async with open_desk(tmp_path, realms=(CHARGER,), ready_delay=timedelta(seconds=5)) as desk:
        desk.peer.clock.freeze()
        serial = (await desk.issue()).rpartition("/")[2]
        with pytest.raises(desk.pca.exceptions.RequestInProgressException):
            await revoke(desk, serial)
        desk.peer.clock.advance(timedelta(seconds=5))
        await revoke(desk, serial)


async def test_a_revoked_certificate_can_still_be_fetched(desk: Desk) -> None:
    arn = await desk.issue()
    await revoke(desk, arn.rpartition("/")[2])
    await desk.get(arn)


@pytest.mark.parametrize(
    "reason", ["UNSPECIFIED", "A_A_COMPROMISE", "PRIVILEGE_WITHDRAWN", "AFFILIATION_CHANGED"]
)
async def test_every_reason_reaches_the_list_and_unspecified_is_left_out(desk: Desk, reason: str) -> None:
    leaf = await desk.issued()
    await revoke(desk, f"{leaf.serial_number:x}", reason)
    desk.peer.clock.advance(timedelta(minutes=30))
    entry = (await read_crl(desk)).get_revoked_certificate_by_serial_number(leaf.serial_number)
    assert entry is not None
    assert len(list(entry.extensions)) == (0 if reason == "UNSPECIFIED" else 1)


async def test_the_list_also_lies_in_the_bucket_that_the_authority_names(desk: Desk) -> None:
    answer = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
    bucket = answer["CertificateAuthority"]["RevocationConfiguration"]["CrlConfiguration"]["S3BucketName"]
    async with aws_client("s3", desk.peer.url) as s3:
        found = await s3.get_object(Bucket=bucket, Key=f"crl/{desk.issuing.rpartition('/')[2]}.crl")
        assert x509.load_der_x509_crl(await found["Body"].read()) == await read_crl(desk)


async def report(desk: Desk, kind: str = "JSON") -> tuple[str, str]:
    """(bucket, key) of a finished report."""
    created = await desk.pca.create_certificate_authority_audit_report(
        CertificateAuthorityArn=desk.issuing, S3BucketName="reports", AuditReportResponseFormat=kind
    )
    await desk.pca.get_waiter("audit_report_created").wait(
        CertificateAuthorityArn=desk.issuing,
        AuditReportId=created["AuditReportId"],
        WaiterConfig={"Delay": 0, "MaxAttempts": 10_000},
    )
    described = await desk.pca.describe_certificate_authority_audit_report(
        CertificateAuthorityArn=desk.issuing, AuditReportId=created["AuditReportId"]
    )
    assert described["S3Key"] == created["S3Key"]
    assert created["AuditReportId"] in created["S3Key"]
    return described["S3BucketName"], described["S3Key"]


@pytest.fixture
async def unlimited_desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Without quotas, so that a waiter may ask as often as it likes in a frozen second."""
    async with open_desk(tmp_path, realms=(CHARGER,), quotas_per_s={}) as opened:
        opened.peer.clock.freeze()
        yield opened


async def test_an_audit_report_lists_what_was_issued_and_revoked(unlimited_desk: Desk) -> None:
    desk = unlimited_desk
    kept, gone = await desk.issue(), await desk.issue(Csr=make_csr("CN=CS-2"))
    await revoke(desk, gone.rpartition("/")[2], "KEY_COMPROMISE")
    bucket, key = await report(desk)
    async with aws_client("s3", desk.peer.url) as s3:
        rows: list[dict[str, Any]] = json.loads(
            await (await s3.get_object(Bucket=bucket, Key=key))["Body"].read()
        )
        assert (await s3.head_object(Bucket=bucket, Key=key))["ContentLength"] > 0
    by_arn = {row["certificateArn"]: row for row in rows}
    assert set(by_arn) == {kept, gone}
    assert by_arn[gone]["revocationReason"] == "KEY_COMPROMISE"
    assert by_arn[gone]["revokedAt"] == desk.peer.clock.now().strftime("%Y-%m-%dT%H:%M:%S+0000")
    assert "revokedAt" not in by_arn[kept]
    assert by_arn[kept]["templateArn"] == template_arn(CLIENT_TEMPLATE)
    assert by_arn[kept]["serial"].replace(":", "") == kept.rpartition("/")[2]
    assert by_arn[kept]["awsAccountId"] == "123456789012"
    assert set(by_arn[kept]) >= {"subject", "notBefore", "notAfter", "issuedAt"}
    async with desk.http.get(f"{desk.peer.url}/s3/{bucket}/{key}") as response:
        assert await response.json() == rows


async def test_an_audit_report_as_csv_has_the_documented_columns(unlimited_desk: Desk) -> None:
    desk = unlimited_desk
    arn = await desk.issue()
    bucket, key = await report(desk, "CSV")
    async with desk.http.get(f"{desk.peer.url}/{bucket}/{key}") as response:
        reader = csv.DictReader(io.StringIO(await response.text()))
        (row,) = list(reader)
    assert list(row) == [
        "awsAccountId", "requestedByServicePrincipal", "certificateArn", "serial", "subject", "notBefore",
        "notAfter", "issuedAt", "revokedAt", "revocationReason", "templateArn",
    ]  # fmt: skip
    assert (row["certificateArn"], row["revokedAt"]) == (arn, "")


async def test_one_audit_report_is_made_in_half_an_hour(unlimited_desk: Desk) -> None:
    desk = unlimited_desk
    await report(desk)
    with pytest.raises(ClientError) as raised:
        await report(desk)
    assert error_code(raised) == "ThrottlingException"
    desk.peer.clock.advance(timedelta(minutes=30))
    await report(desk)


async def test_objects_that_do_not_exist_are_missing_in_the_way_of_s3(desk: Desk) -> None:
    async with aws_client("s3", desk.peer.url) as s3:
        with pytest.raises(s3.exceptions.NoSuchKey):
            await s3.get_object(Bucket="reports", Key="nothing/here.json")
    unknown = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(desk.pca.exceptions.ResourceNotFoundException):
        await desk.pca.describe_certificate_authority_audit_report(
            CertificateAuthorityArn=desk.issuing, AuditReportId=unknown
        )
    async with desk.http.get(f"{desk.peer.url}/crl/{unknown}.crl") as response:
        assert response.status == 404
