"""What every CA that lists what it signed owes: the gateway at the AWS peer with S3, and the fake, by one suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bfactors.audit_report import AuditEntry, ReportRef
from bfactors.ca import NotReady, Permanent, SigningOrder, Transient
from bfactors.errors import Unavailable
from bfactors.ports import Auditor
from bfactors.x509 import parse_certificate
from gateways.ca.audit_csv import entries as parsed
from gateways.ca.aws_audit_report import AwsAuditReports
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.call_limits import CallLimits
from gateways.ca.retry import RetryPolicy
from tests.contract.test_ca_aws import AwsSide, FakeSide, aws_settings, aws_side
from tests.core import pki
from tests.fakes.ca import START, CountedMetrics
from tests.patience import PATIENCE_S


class Shelf:
    """`ReportShelf` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, ReportRef] = {}
        self.is_away = False

    async def latest(self, authority_arn: str) -> ReportRef | None:
        if self.is_away:
            raise Unavailable("test", "away")
        return self.kept.get(authority_arn)

    async def put(self, report: ReportRef) -> None:
        if self.is_away:
            raise Unavailable("test", "away")
        self.kept[report.authority_arn] = report


@dataclass
class Audited:
    """A CA and its reports. `another` is the same CA as another node sees it."""

    side: AwsSide | FakeSide
    reports: Auditor
    another: Auditor

    def order(self, number: int) -> SigningOrder:
        now = self.side.time.now().replace(microsecond=0)
        return SigningOrder(
            authority_arn=self.side.arn,
            token=f"token-{number}",
            csr_pem=pki.csr(f"SN-{number}"),
            template="EndEntityClientAuthCertificate/V1",
            signing_algorithm="SHA256WITHECDSA",
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=30, seconds=number),
            call_before=now + timedelta(minutes=4),
        )

    async def entries(self, report: ReportRef) -> list[AuditEntry]:
        return [entry async for batch in self.reports.entries(report) for entry in batch]


@pytest.fixture(params=["aws", "fake"])
async def audited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Audited]:
    if request.param == "fake":
        side = FakeSide()
        yield Audited(side, side.ca, side.ca)
        return
    async with aws_side(tmp_path) as opened:
        shelf = Shelf()
        nodes = [reports_of(opened, shelf) for _ in range(2)]
        for node in nodes:
            await node.start()
        yield Audited(opened, *nodes)
        for node in nodes:
            await node.close()


def reports_of(side: AwsSide, shelf: Shelf) -> AwsAuditReports:
    async def sleep(duration_s: float) -> None:
        """Time leaps, but not past a report that a disk is still writing."""
        await side.time.sleep(duration_s)
        await side.peer.settle()

    return AwsAuditReports(
        AwsPrivateCa(
            aws_settings(side.peer.url),
            clock=side.time,
            metrics=CountedMetrics(),
            limits=CallLimits(20, monotonic=side.time.monotonic, sleep=side.time.sleep),
            retry=RetryPolicy(uniform=lambda low, _: low, sleep=side.time.sleep),
        ),
        aws_settings(side.peer.url),
        buckets={side.arn: "audit-bucket"},
        shelf=shelf,
        clock=side.time,
        sleep=sleep,
    )


async def test_a_report_lists_what_was_signed_with_its_dates_template_and_revocation(
    audited: Audited,
) -> None:
    side = audited.side
    orders = [audited.order(number) for number in range(3)]
    refs = [await side.ca.issue(order) for order in orders]
    leaves = [
        parse_certificate((await side.ca.fetch(side.arn, external_ref)).leaf_pem) for external_ref in refs
    ]
    await side.ca.revoke(side.arn, leaves[1].serial_number, "superseded")
    report = await audited.reports.report(side.arn, side.time.now())
    listed = {entry.external_ref: entry for entry in await audited.entries(report)}
    assert set(listed) == set(refs)
    for external_ref, leaf, order in zip(refs, leaves, orders, strict=True):
        entry = listed[external_ref]
        assert (entry.serial_number, entry.template) == (leaf.serial_number, order.template)
        assert (entry.not_before, entry.not_after) == (order.not_before, order.not_after)
        assert abs(entry.issued_at - side.time.now()) < timedelta(minutes=1)
    assert [listed[ref].revocation_reason for ref in refs] == [None, "superseded", None]
    assert [listed[ref].revoked_at is None for ref in refs] == [True, False, True]


async def test_one_report_answers_for_all_who_can_use_it(audited: Audited) -> None:
    side = audited.side
    since = side.time.now()
    first = await audited.reports.report(side.arn, since)
    assert await audited.reports.report(side.arn, since - timedelta(minutes=5)) == first
    assert await audited.another.report(side.arn, since) == first


async def test_there_is_no_second_one_in_half_an_hour(audited: Audited) -> None:
    side = audited.side
    first = await audited.reports.report(side.arn, side.time.now())
    side.time.leap(600)
    for node in (audited.reports, audited.another):
        with pytest.raises(NotReady) as refused:
            await node.report(side.arn, side.time.now())
        assert refused.value.retry_after_s is not None
        assert 1200 - PATIENCE_S <= refused.value.retry_after_s <= 1200
    side.time.leap(1201)
    second = await audited.another.report(side.arn, side.time.now())
    assert second.report_id != first.report_id
    assert second.created_at > first.created_at


async def test_a_ca_nobody_knows_has_no_report(audited: Audited) -> None:
    arn = audited.side.arn
    other = arn[:-1] + ("0" if arn.endswith("f") else "f")
    with pytest.raises(Permanent):
        await audited.reports.report(other, audited.side.time.now())


# ---------------------------------------------------------------- the gateway alone


async def test_a_report_nobody_remembers_is_waited_for(tmp_path: Path) -> None:
    """Its maker died before it could tell the others."""
    async with aws_side(tmp_path) as side:
        shelf = Shelf()
        node = reports_of(side, shelf)
        await node.start()
        await node.report(side.arn, side.time.now())
        shelf.kept.clear()
        with pytest.raises(NotReady) as refused:
            await node.report(side.arn, side.time.now() + timedelta(seconds=1))
        assert refused.value.retry_after_s == 300
        await node.close()


@pytest.mark.parametrize("operation", ["create", "describe", "read"])
async def test_a_denied_report_is_refused_for_good(operation: str, tmp_path: Path) -> None:
    faults = {
        "create": "CreateCertificateAuthorityAuditReport",
        "describe": "DescribeCertificateAuthorityAuditReport",
        "read": "GetObject",
    }
    async with aws_side(tmp_path) as side:
        node = reports_of(side, Shelf())
        await node.start()
        await side.order({"operation": faults[operation], "error": "AccessDeniedException"})
        with pytest.raises(Permanent, match="AccessDenied"):
            await read_all(node, side)
        await node.close()


async def read_all(node: AwsAuditReports, side: AwsSide) -> None:
    report = await node.report(side.arn, side.time.now())
    async for _ in node.entries(report):
        pass


async def test_a_shelf_that_is_away_makes_it_wait_and_no_report_is_wasted(tmp_path: Path) -> None:
    async with aws_side(tmp_path) as side:
        shelf = Shelf()
        shelf.is_away = True
        node = reports_of(side, shelf)
        await node.start()
        with pytest.raises(Transient):
            await node.report(side.arn, side.time.now())
        assert await side.log("CreateCertificateAuthorityAuditReport") == []
        await node.close()


HEADER = (
    "awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,notBefore,notAfter,issuedAt,"
    "revokedAt,revocationReason,templateArn"
)
ROW = (
    '1,,arn:x/certificate/ab,00:ab:01,"CN=A\\, B,O=""D""",2026-06-01T06:00:00+0000,2026-07-01T06:00:00Z,'
    "2026-06-01T07:00:00.250+0000,,,arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1"
)


def test_a_row_is_read_by_the_names_of_its_columns() -> None:
    (entry,) = parsed([HEADER, ROW])
    assert entry == AuditEntry(
        external_ref="arn:x/certificate/ab",
        serial_number="ab01",
        subject='CN=A\\, B,O="D"',
        template="EndEntityClientAuthCertificate/V1",
        not_before=START,
        not_after=datetime(2026, 7, 1, 6, tzinfo=UTC),
        issued_at=datetime(2026, 6, 1, 7, 0, 0, 250_000, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["a,b"],
        [HEADER.replace("serial", "number"), ROW],
        [HEADER, ROW.replace("00:ab:01", "zz")],
        [HEADER, "1,2"],
    ],
)
def test_a_report_that_cannot_be_read_is_refused(lines: list[Any]) -> None:
    with pytest.raises(Permanent, match="MalformedAuditReport"):
        list(parsed(lines))
