"""AWS Private CA's audit reports: asked for at most once in half an hour per CA, shared by all nodes, read from S3."""

import asyncio
import io
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import IO, Any

from bfactors.audit_report import AuditEntry, ReportRef
from bfactors.ca import NotReady, Permanent, Transient
from bfactors.errors import Unavailable
from bfactors.ports import Clock, ReportShelf
from gateways.ca.audit_csv import entries as parsed
from gateways.ca.aws_error import CAUGHT, ca_error
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.ca.lane import run_on

ONE_REPORT_IN = timedelta(minutes=30)
"""The service makes no second report of a CA sooner. Source: facts on AWS Private CA 3.3."""
THROTTLED = "ThrottlingException"
UNKNOWN_WAIT_S = 300.0
FINISHED_WITHIN_S = 300.0
_BATCH = 1000
_CHUNK_BYTES = 1 << 16
_IN_MEMORY_BYTES = 1 << 22


class AwsAuditReports:
    """`bfactors.ports.Auditor`. Made on the loop that owns the sockets; callable from any lane.

    `ca` acts under the auditor's role and belongs to this from `start` to `close`; `buckets` by the CA's ARN.
    """

    def __init__(
        self,
        ca: AwsPrivateCa,
        settings: AwsSettings,
        *,
        buckets: Mapping[str, str],
        shelf: ReportShelf,
        clock: Clock,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._ca = ca
        self._buckets = buckets
        self._shelf = shelf
        self._clock = clock
        self._sleep = sleep
        self._clients = AwsClients(settings)
        self._loop = asyncio.get_running_loop()
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._s3: Any = None

    async def start(self) -> None:
        """Make the clients; no call leaves."""
        await self._ca.start()
        self._s3 = await self._clients.open("s3")

    async def close(self) -> None:
        """Close the connections."""
        self._s3 = None
        await self._clients.close()
        await self._ca.close()

    # ------------------------------------------------------------ Auditor

    async def report(self, authority_arn: str, since: datetime) -> ReportRef:
        """The newest report of any node if it is new enough, else a new one when the service makes one again."""
        return await run_on(self._loop, self._report(authority_arn, since))

    async def entries(self, report: ReportRef) -> AsyncGenerator[Sequence[AuditEntry], None]:
        """A large report lies in a temporary file while it is read."""
        with await run_on(self._loop, self._downloaded(report)) as file:
            rows = parsed(io.TextIOWrapper(file, "utf-8", newline=""))
            while batch := tuple(islice(rows, _BATCH)):
                yield batch
                await asyncio.sleep(0)

    # ------------------------------------------------------------ on the loop of the sockets

    async def _report(self, authority_arn: str, since: datetime) -> ReportRef:
        if authority_arn not in self._buckets:
            raise Permanent("NoAuditBucket", "no bucket is named for this CA's audit reports")
        async with self._one_at_a_time[authority_arn]:
            latest = await self._shelf_latest(authority_arn)
            if latest is not None and latest.created_at >= since:
                return await self._finished(latest)
            if latest is not None:
                left_s = (latest.created_at + ONE_REPORT_IN - self._clock.now()).total_seconds()
                if left_s > 0:
                    raise _too_soon(left_s)
            return await self._finished(await self._created(authority_arn))

    async def _shelf_latest(self, authority_arn: str) -> ReportRef | None:
        try:
            return await self._shelf.latest(authority_arn)
        except Unavailable as away:
            raise Transient("ReportShelfAway", str(away)) from away

    async def _created(self, authority_arn: str) -> ReportRef:
        asked_at = self._clock.now()
        try:
            made = await self._ca.ask(
                "CreateCertificateAuthorityAuditReport",
                authority_arn,
                S3BucketName=self._buckets[authority_arn],
                AuditReportResponseFormat="CSV",
            )
        except Transient as error:
            if error.code == THROTTLED:  # made by somebody we do not know of
                raise _too_soon(UNKNOWN_WAIT_S) from error
            raise
        report = ReportRef(
            authority_arn=authority_arn,
            report_id=str(made["AuditReportId"]),
            bucket=self._buckets[authority_arn],
            key=str(made["S3Key"]),
            created_at=asked_at,
        )
        with suppress(Unavailable):  # the others find out from the service that it is too soon
            await self._shelf.put(report)
        return report

    async def _finished(self, report: ReportRef) -> ReportRef:
        waited_s, delay_s = 0.0, 0.2
        while True:
            told = await self._ca.ask(
                "DescribeCertificateAuthorityAuditReport",
                report.authority_arn,
                AuditReportId=report.report_id,
            )
            status = str(told["AuditReportStatus"])
            if status == "SUCCESS":
                return report
            if status == "FAILED" or waited_s >= FINISHED_WITHIN_S:
                left_s = (report.created_at + ONE_REPORT_IN - self._clock.now()).total_seconds()
                raise NotReady(
                    "AuditReportNotMade", f"the report is {status}", retry_after_s=max(1.0, left_s)
                )
            await self._sleep(delay_s)
            waited_s += delay_s
            delay_s = min(10.0, delay_s * 2)

    async def _downloaded(self, report: ReportRef) -> IO[bytes]:
        if self._s3 is None:
            raise Transient("NotStarted", "the client of the audit bucket is closed")
        file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
        try:
            answer = await self._s3.get_object(Bucket=report.bucket, Key=report.key)
            async for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                file.write(chunk)
        except CAUGHT as problem:
            file.close()
            raise ca_error(problem) from problem
        file.seek(0)
        return file


def _too_soon(left_s: float) -> NotReady:
    message = f"the service makes one audit report in {ONE_REPORT_IN.seconds // 60} minutes"
    return NotReady("AuditReportTooSoon", message, retry_after_s=left_s)
