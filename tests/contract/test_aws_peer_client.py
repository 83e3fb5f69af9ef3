"""An unmodified AWS client at the peer: the wire protocol, the hierarchy, sessions. Other files borrow `Desk`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from simulator.aws import PeerConfig, Role, RunningPeer, StateDirectoryBusyError, serve

# One session for all tests: it keeps the parsed service models, which take longest.
_SESSION = aioboto3.Session()
_ONE_ATTEMPT = Config(
    retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=5, read_timeout=10
)
CHARGER = "charger-identity"
CLIENT_TEMPLATE = "EndEntityClientAuthCertificate"
KEY = ec.generate_private_key(ec.SECP256R1())


def template_arn(name: str) -> str:
    return f"arn:aws:acm-pca:::template/{name}/V1"


def make_csr(
    subject: str = "CN=CS-1,O=Operator",
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY,
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name.from_rfc4514_string(subject))
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


CSR = make_csr()


def aws_client(service: str, url: str, **credentials: str) -> Any:
    keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "unused"} | credentials
    return _SESSION.client(service, endpoint_url=url, region_name="eu-central-1", config=_ONE_ATTEMPT, **keys)


@dataclass(frozen=True)
class Desk:
    """A peer and a client at it."""

    peer: RunningPeer
    pca: Any
    http: aiohttp.ClientSession

    @property
    def issuing(self) -> str:
        return self.peer.arns[CHARGER].issuing_arn

    async def issue(self, **changes: Any) -> str:
        """An IssueCertificate call whose parameters a test changes; None leaves one out."""
        parameters: dict[str, Any] = {
            "CertificateAuthorityArn": self.issuing,
            "Csr": CSR,
            "SigningAlgorithm": "SHA256WITHECDSA",
            "TemplateArn": template_arn(CLIENT_TEMPLATE),
            "Validity": {"Type": "DAYS", "Value": 30},
        } | changes
        answer = await self.pca.issue_certificate(
            **{key: value for key, value in parameters.items() if value is not None}
        )
        return str(answer["CertificateArn"])

    async def get(
        self, arn: str, authority: str | None = None
    ) -> tuple[x509.Certificate, list[x509.Certificate]]:
        answer = await self.pca.get_certificate(
            CertificateAuthorityArn=authority or self.issuing, CertificateArn=arn
        )
        chain = x509.load_pem_x509_certificates(answer["CertificateChain"].encode())
        return x509.load_pem_x509_certificate(answer["Certificate"].encode()), chain

    async def issued(self, **changes: Any) -> x509.Certificate:
        return (await self.get(await self.issue(**changes)))[0]

    async def peer_post(self, path: str, document: object) -> Any:
        async with self.http.post(f"{self.peer.url}/_peer/{path}", json=document) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def peer_get(self, path: str) -> Any:
        async with self.http.get(f"{self.peer.url}/_peer/{path}") as response:
            return await response.json()


@asynccontextmanager
async def open_desk(state_dir: Path, **settings: Any) -> AsyncIterator[Desk]:
    peer = await serve(PeerConfig(state_dir, **settings))
    try:
        async with aws_client("acm-pca", peer.url) as pca, aiohttp.ClientSession() as http:
            yield Desk(peer, pca, http)
    finally:
        await peer.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path) as opened:
        yield opened


def error_code(raised: pytest.ExceptionInfo[ClientError]) -> str:
    return str(raised.value.response["Error"]["Code"])


async def test_every_realm_has_a_root_of_ten_years_and_an_issuing_authority_of_five(desk: Desk) -> None:
    assert set(desk.peer.arns) == {"charger-identity", "backend-server", "vehicle-vas", "iso15118"}
    now = datetime.now(UTC)
    roots = set()
    for arns in desk.peer.arns.values():
        answer = await desk.pca.get_certificate_authority_certificate(
            CertificateAuthorityArn=arns.issuing_arn
        )
        issuing = x509.load_pem_x509_certificate(answer["Certificate"].encode())
        (root,) = x509.load_pem_x509_certificates(answer["CertificateChain"].encode())
        own = await desk.pca.get_certificate_authority_certificate(CertificateAuthorityArn=arns.root_arn)
        assert x509.load_pem_x509_certificate(own["Certificate"].encode()) == root
        assert "CertificateChain" not in own
        root.verify_directly_issued_by(root)
        issuing.verify_directly_issued_by(root)
        constraint = issuing.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (constraint.critical, constraint.value.ca, constraint.value.path_length) == (True, True, 0)
        assert abs(root.not_valid_after_utc - now - timedelta(days=3652)) < timedelta(days=2)
        assert abs(issuing.not_valid_after_utc - now - timedelta(days=1826)) < timedelta(days=2)
        roots.add(root.fingerprint(hashes.SHA256()))
    assert len(roots) == 4


async def test_a_leaf_verifies_up_to_the_root_by_an_independent_path_check(desk: Desk) -> None:
    csr = make_csr(extensions=[(x509.SubjectAlternativeName([x509.DNSName("cs-1.example")]), False)])
    leaf, chain = await desk.get(await desk.issue(Csr=csr))
    issuing, root = chain
    # Five minutes of slack: the verifier's clock is the machine's, the leaf is backdated by an hour.
    verifier = (
        x509.verification.PolicyBuilder().store(x509.verification.Store([root])).build_client_verifier()
    )
    verified = verifier.verify(leaf, [issuing])
    assert list(verified.chain) == [leaf, issuing, root]
    assert leaf.public_key() == KEY.public_key()


async def test_describe_tells_state_dates_and_revocation_settings(desk: Desk) -> None:
    answer = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
    authority = answer["CertificateAuthority"]
    assert authority["Status"] == "ACTIVE"
    assert authority["Type"] == "SUBORDINATE"
    assert authority["UsageMode"] == "GENERAL_PURPOSE"
    assert authority["CertificateAuthorityConfiguration"]["KeyAlgorithm"] == "EC_prime256v1"
    assert authority["NotAfter"] > datetime.now(UTC) + timedelta(days=1800)
    assert authority["RevocationConfiguration"]["CrlConfiguration"]["Enabled"] is True


async def test_authorities_are_listed_in_pages(desk: Desk) -> None:
    paginator = desk.pca.get_paginator("list_certificate_authorities")
    pages = [page async for page in paginator.paginate(PaginationConfig={"PageSize": 3})]
    arns = [item["Arn"] for page in pages for item in page["CertificateAuthorities"]]
    expected = {arn for pair in desk.peer.arns.values() for arn in (pair.root_arn, pair.issuing_arn)}
    assert len(pages) == 3
    assert len(arns) == 8
    assert set(arns) == expected
    with pytest.raises(ClientError) as raised:
        await desk.pca.list_certificate_authorities(NextToken="not-ours")
    assert error_code(raised) == "InvalidNextTokenException"


async def test_an_rsa_authority_signs_with_rsa_and_refuses_ecdsa(tmp_path: Path) -> None:
    async with open_desk(tmp_path, realms=(CHARGER,), key_algorithm="RSA_2048") as desk:
        leaf = await desk.issued(SigningAlgorithm="SHA384WITHRSA")
        assert isinstance(leaf.signature_hash_algorithm, hashes.SHA384)
        with pytest.raises(ClientError) as raised:
            await desk.issue(SigningAlgorithm="SHA256WITHECDSA")
    assert error_code(raised) == "InvalidArgsException"


async def test_answers_and_errors_carry_the_headers_of_the_real_service(desk: Desk) -> None:
    headers = {
        "X-Amz-Target": "ACMPrivateCA.DescribeCertificateAuthority",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/eu-central-1/acm-pca/aws4_request",
    }
    arn = desk.issuing[:-1] + ("0" if desk.issuing[-1] != "0" else "1")
    body = {"CertificateAuthorityArn": arn}
    async with desk.http.post(desk.peer.url, json=body, headers=headers) as response:
        assert response.status == 400
        assert response.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
        assert len(response.headers["x-amzn-RequestId"]) == 36
        assert response.content_type == "application/x-amz-json-1.1"
        document = await response.json(content_type=None)
        assert document["__type"] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("target", "authorization", "body", "code"),
    [
        ("DescribeCertificateAuthority", "", b"{}", "MissingAuthenticationTokenException"),
        ("DeleteCertificateAuthority", "Credential=AKIATEST/x", b"{}", "UnknownOperationException"),
        ("IssueCertificate", "Credential=AKIATEST/x", b"{", "SerializationException"),
        ("IssueCertificate", "Credential=AKIATEST/x", b"[1]", "ValidationException"),
        ("IssueCertificate", "Credential=ASIANOBODY/x", b"{}", "UnrecognizedClientException"),
    ],
)
async def test_requests_no_client_would_send_are_refused_as_the_service_refuses_them(
    desk: Desk, target: str, authorization: str, body: bytes, code: str
) -> None:
    headers = {"X-Amz-Target": f"ACMPrivateCA.{target}", "Authorization": authorization}
    async with desk.http.post(desk.peer.url, data=body, headers=headers) as response:
        assert response.status == 400
        assert response.headers["x-amzn-ErrorType"] == code


async def test_an_assumed_role_may_do_what_it_was_granted_and_nothing_else(tmp_path: Path) -> None:
    issuer = Role(
        "charger-issuer",
        frozenset({"IssueCertificate", "GetCertificate"}),
        frozenset({CHARGER}),
        frozenset({CLIENT_TEMPLATE}),
    )
    async with open_desk(tmp_path, roles=(issuer,)) as desk:
        async with aws_client("sts", desk.peer.url) as sts:
            answer = await sts.assume_role(
                RoleArn="arn:aws:iam::123456789012:role/charger-issuer", RoleSessionName="core-1"
            )
            with pytest.raises(ClientError) as raised:
                await sts.assume_role(
                    RoleArn="arn:aws:iam::123456789012:role/nobody", RoleSessionName="core-1"
                )
            assert error_code(raised) == "AccessDenied"
        issued = answer["Credentials"]
        assert issued["Expiration"] > datetime.now(UTC) + timedelta(minutes=59)
        credentials = {
            "aws_access_key_id": issued["AccessKeyId"],
            "aws_secret_access_key": issued["SecretAccessKey"],
            "aws_session_token": issued["SessionToken"],
        }
        async with aws_client("acm-pca", desk.peer.url, **credentials) as pca:
            session = Desk(desk.peer, pca, desk.http)
            await session.issued()
            denied: list[dict[str, Any]] = [
                {"TemplateArn": template_arn("SubordinateCACertificate_PathLen0")},
                {"TemplateArn": None},
                {"CertificateAuthorityArn": desk.peer.arns["iso15118"].issuing_arn},
            ]
            for changes in denied:
                with pytest.raises(ClientError) as raised:
                    await session.issue(**changes)
                assert error_code(raised) == "AccessDeniedException"
            with pytest.raises(ClientError) as raised:
                await pca.revoke_certificate(
                    CertificateAuthorityArn=desk.issuing,
                    CertificateSerial="01",
                    RevocationReason="SUPERSEDED",
                )
            assert error_code(raised) == "AccessDeniedException"
        entries = (await desk.peer_get("log?operation=IssueCertificate"))["entries"]
        assert {entry["caller"] for entry in entries} == {"charger-issuer"}


async def test_a_state_directory_serves_one_peer_at_a_time(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(StateDirectoryBusyError):
        await serve(PeerConfig(tmp_path))


async def test_key_files_are_readable_by_their_owner_only(desk: Desk, tmp_path: Path) -> None:
    files = list((tmp_path / "keys").iterdir())
    assert len(files) == 8
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


async def test_every_certificate_says_where_its_revocation_list_is(desk: Desk) -> None:
    leaf = await desk.issued()
    points = leaf.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
    assert isinstance(points, x509.CRLDistributionPoints)
    names = points[0].full_name
    assert names is not None
    async with desk.http.get(names[0].value) as response:
        crl = x509.load_der_x509_crl(await response.read())
    assert crl.issuer == leaf.issuer
