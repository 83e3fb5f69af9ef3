"""The AWS peer as a process of its own: ready line, kill -9, restart, clean stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509

from simulator.aws.store import connect
from tests.contract.test_aws_peer_client import CHARGER, CSR, aws_client, error_code
from tests.patience import PATIENCE_S

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class PeerProcess:
    """A started process and what its ready line said."""

    process: asyncio.subprocess.Process
    url: str
    authorities: dict[str, dict[str, str]]

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


@asynccontextmanager
async def peer_process(state_dir: Path, *options: str) -> AsyncIterator[PeerProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator.aws", "--port", "0", "--state-dir", str(state_dir), *options,
        stdout=asyncio.subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
        assert line["event"] == "ready"
        yield PeerProcess(process, line["url"], line["authorities"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def issue_parameters(authority: str) -> dict[str, Any]:
    return {
        "CertificateAuthorityArn": authority,
        "Csr": CSR,
        "SigningAlgorithm": "SHA256WITHECDSA",
        "TemplateArn": "arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1",
        "Validity": {"Type": "DAYS", "Value": 30},
        "IdempotencyToken": "job-1",
    }


async def test_killing_it_at_once_after_an_answer_loses_nothing(tmp_path: Path) -> None:
    async with peer_process(tmp_path, "--crl-lag-s", "0") as first:
        issuing = first.authorities[CHARGER]["issuing_arn"]
        parameters = issue_parameters(issuing)
        async with aws_client("acm-pca", first.url) as pca, aws_client("sts", first.url) as sts:
            authority = await pca.get_certificate_authority_certificate(CertificateAuthorityArn=issuing)
            revoked = (await pca.issue_certificate(**parameters | {"IdempotencyToken": "job-0"}))[
                "CertificateArn"
            ]
            await pca.revoke_certificate(
                CertificateAuthorityArn=issuing,
                CertificateSerial=revoked.rpartition("/")[2],
                RevocationReason="SUPERSEDED",
            )
            session = (
                await sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/core", RoleSessionName="core-1")
            )["Credentials"]
            issued = await pca.issue_certificate(**parameters)
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL

    async with peer_process(tmp_path, "--crl-lag-s", "0") as second:
        assert second.authorities == first.authorities
        credentials = {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }
        async with (
            aws_client("acm-pca", second.url, **credentials) as pca,
            aiohttp.ClientSession() as http,
        ):
            again = await pca.get_certificate_authority_certificate(CertificateAuthorityArn=issuing)
            assert again["Certificate"] == authority["Certificate"]
            assert again["CertificateChain"] == authority["CertificateChain"]
            repeated = await pca.issue_certificate(**parameters)
            assert repeated["CertificateArn"] == issued["CertificateArn"]
            found = await pca.get_certificate(
                CertificateAuthorityArn=issuing, CertificateArn=issued["CertificateArn"]
            )
            leaf = x509.load_pem_x509_certificate(found["Certificate"].encode())
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(again["Certificate"].encode()))
            with pytest.raises(ClientError) as raised:
                await pca.revoke_certificate(
                    CertificateAuthorityArn=issuing,
                    CertificateSerial=revoked.rpartition("/")[2],
                    RevocationReason="SUPERSEDED",
                )
            assert error_code(raised) == "RequestAlreadyProcessedException"
            identifier = issuing.rpartition("/")[2]
            async with http.get(f"{second.url}/crl/{identifier}.crl") as response:
                crl = x509.load_der_x509_crl(await response.read())
            assert (
                crl.get_revoked_certificate_by_serial_number(int(revoked.rpartition("/")[2], 16)) is not None
            )
        assert await second.end(signal.SIGTERM) == 0


async def test_after_a_kill_amid_traffic_every_token_has_exactly_one_certificate(tmp_path: Path) -> None:
    answered: dict[str, str] = {}
    killed = asyncio.Event()

    async def issue_until_killed(pca: Any, authority: str, worker: int) -> None:
        for number in range(1000):
            token = f"{worker}-{number}"
            try:
                answer = await pca.issue_certificate(
                    **issue_parameters(authority) | {"IdempotencyToken": token}
                )
            except BotoCoreError:
                assert killed.is_set()
                unanswered.append(token)
                return
            answered[token] = answer["CertificateArn"]
            if len(answered) == 40:
                killed.set()
                first.process.kill()

    unanswered: list[str] = []
    async with peer_process(tmp_path, "--realm", CHARGER, "--unlimited") as first:
        issuing = first.authorities[CHARGER]["issuing_arn"]
        async with aws_client("acm-pca", first.url) as pca:
            await asyncio.wait_for(
                asyncio.gather(*(issue_until_killed(pca, issuing, worker) for worker in range(4))),
                PATIENCE_S,
            )
        # Reaped here: a second kill on the way out would race with the loop's own child watcher.
        assert await asyncio.wait_for(first.process.wait(), PATIENCE_S) == -signal.SIGKILL
    assert len(unanswered) == 4

    async with peer_process(tmp_path, "--realm", CHARGER, "--unlimited") as second:
        async with aws_client("acm-pca", second.url) as pca:
            for token in [*answered, *unanswered]:
                answer = await pca.issue_certificate(
                    **issue_parameters(issuing) | {"IdempotencyToken": token}
                )
                arn = answer["CertificateArn"]
                assert answered.setdefault(token, arn) == arn
                await pca.get_certificate(CertificateAuthorityArn=issuing, CertificateArn=arn)
        async with aiohttp.ClientSession() as http, http.get(f"{second.url}/_peer/stats") as response:
            stats = await response.json()
    assert stats["certificates"][issuing]["issued"] == len(answered)
    assert stats["token_conflicts"] == []


async def test_what_a_killed_start_or_report_left_behind_is_put_right(tmp_path: Path) -> None:
    async with peer_process(tmp_path, "--realm", CHARGER) as first:
        await first.end(signal.SIGKILL)
    identifier, report_id = first.authorities[CHARGER]["issuing_arn"].rpartition("/")[2], "r" * 36
    stray = tmp_path / "keys" / "key-without-authority.pem"
    stray.write_bytes(b"half a key")
    with closing(connect(tmp_path)) as store:
        store.execute(
            "INSERT INTO audit_report VALUES (?,?,'reports','report.json','JSON','CREATING',0)",
            (report_id, identifier),
        )
    async with peer_process(tmp_path, "--realm", CHARGER) as second, aiohttp.ClientSession() as http:
        assert not stray.exists()
        async with asyncio.timeout(PATIENCE_S):
            status = 404
            while status == 404:
                async with http.get(f"{second.url}/reports/report.json") as response:
                    status = response.status
        assert status == 200


async def test_a_clock_moved_forward_stays_forward_over_a_restart(tmp_path: Path) -> None:
    times = []
    for advance_s in (86400, 0):
        async with peer_process(tmp_path, "--realm", CHARGER) as peer, aiohttp.ClientSession() as http:
            async with http.post(f"{peer.url}/_peer/clock", json={"advance_s": advance_s}) as response:
                times.append((await response.json())["now"])
            assert await peer.end(signal.SIGTERM) == 0
    assert times[1] > times[0]


async def test_a_second_process_on_the_same_directory_leaves_with_code_2(tmp_path: Path) -> None:
    async with peer_process(tmp_path, "--realm", CHARGER):
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "simulator.aws", "--state-dir", str(tmp_path),
            cwd=_ROOT, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await asyncio.wait_for(second.communicate(), PATIENCE_S)
        assert second.returncode == 2
        assert b"another running peer" in errors
