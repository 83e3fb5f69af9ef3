"""OCPP 2.0.1, the central system's side of the OCTT cases, against `run.py up`: nothing but the wire and the admin API.

Each test is named after its case. Source: OCPP 2.0.1 part 6 sections 3.2 and 3.14, errata 2025-09.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import ssl
import string
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from websockets.exceptions import InvalidStatus

from tests.conformance.control_plane import ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS
from tests.conformance.raw_charger import HASHES, ORGANIZATION, Charger, Payload, certificates

pytestmark = pytest.mark.xdist_group("core-201")

SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": ec.EllipticCurvePublicKey,
    "ECDHE-ECDSA-AES256-GCM-SHA384": ec.EllipticCurvePublicKey,
    "AES128-GCM-SHA256": rsa.RSAPublicKey,
    "AES256-GCM-SHA384": rsa.RSAPublicKey,
}
"""The four a central system must offer (A00.FR.318), and the key its certificate must have for each."""

STATION_CERTIFICATE = "ChargingStationCertificate"


def limited(context: ssl.SSLContext, suite: str) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suite}:@SECLEVEL=1")
    return context


def accepted_by(root: str, leaf: x509.Certificate, issuers: list[x509.Certificate]) -> bool:
    """Whether the chain leads from the leaf to the root, signature by signature."""
    path = [leaf, *issuers, x509.load_pem_x509_certificate(root.encode())]
    for child, parent in itertools.pairwise(path):
        child.verify_directly_issued_by(parent)
    return True


# ---------------------------------------------------------------- A: connecting


@IN_BOTH_VERSIONS
async def test_tc_a_01_basic_authentication_valid(system: ControlPlane, tmp_path: Path) -> None:
    """The upgrade is answered 101, BootNotification Accepted, StatusNotification with nothing."""
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)


async def test_tc_a_02_basic_authentication_with_another_user(system: ControlPlane, tmp_path: Path) -> None:
    """401: the user name must be the charger's id in the URL."""
    charger = await Charger.registered(system, tmp_path)
    header = charger.basic(user=charger.charger_id + "Invalid")
    assert await charger.refusal(authorization=header) == 401


async def test_tc_a_03_basic_authentication_with_a_wrong_password(
    system: ControlPlane, tmp_path: Path
) -> None:
    """401 for a wrong password of any length, and for none."""
    charger = await Charger.registered(system, tmp_path)
    for length in (16, 40):
        password = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        assert await charger.refusal(authorization=charger.basic(password=password)) == 401
    assert await charger.refusal() == 401, "none at all"


@pytest.mark.parametrize("suite", SUITES)
async def test_tc_a_04_server_certificate_valid(system: ControlPlane, tmp_path: Path, suite: str) -> None:
    """All four suites over TLS 1.2, with an ECDSA and an RSA certificate whose CN is the host's name."""
    charger = await Charger.registered(system, tmp_path)
    context = limited(system.tls(), suite)
    async with charger.connected(context, authorization=charger.basic()) as session:
        tls = session.socket.transport.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.2"
        assert tls.cipher()[0] == suite
        assert tls.compression() is None
        check_server_certificate(tls.getpeercert(binary_form=True), SUITES[suite])
        await charger.boot(session)


def check_server_certificate(der: bytes, kind: type) -> None:
    certificate = x509.load_der_x509_certificate(der)
    key = certificate.public_key()
    assert isinstance(key, kind)
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    assert key.key_size >= (2048 if isinstance(key, rsa.RSAPublicKey) else 224)
    assert certificate.serial_number > 0
    [name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "localhost"
    assert certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc


async def test_tc_a_06_tls_version_too_low(system: ControlPlane, tmp_path: Path) -> None:
    """TLS 1.1 and older end in the handshake; 1.2 and 1.3 are spoken."""

    def old_hello() -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", system.port), timeout=10) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as tls:
                    return f"connected with {tls.version()}"
            except (ssl.SSLError, OSError):
                return "terminated"

    assert await asyncio.to_thread(old_hello) == "terminated"
    charger = await Charger.registered(system, tmp_path)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)


async def test_tc_a_07_client_certificate_valid(system: ControlPlane, tmp_path: Path) -> None:
    """A known leaf opens a session over each of the four suites and over TLS 1.3."""
    charger = await Charger.enrolled(system, tmp_path)
    for suite in SUITES:
        async with charger.connected(limited(charger.tls(), suite)) as session:
            await charger.boot(session)
    async with charger.connected(charger.tls()) as session:
        assert session.socket.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        await charger.boot(session)


async def test_tc_a_08_client_certificate_invalid(system: ControlPlane, tmp_path: Path) -> None:
    """An unknown CA ends in the handshake; expired, unlisted, or with another CN than the serial number: 403."""
    charger = await Charger.enrolled(system, tmp_path)
    _, issuing, *_ = certificates(charger.chain_pem)
    strangers_key = ec.generate_private_key(ec.SECP256R1())
    stranger = forged(charger.serial, issuer=issuing.subject, key=strangers_key)
    assert await charger.refusal(charger.tls(stranger, LEAF_KEY)) == 0, "unknown CA: ends in the handshake"
    ca_key = stolen_key(system, issuing)
    expired = forged(charger.serial, issuer=issuing.subject, key=ca_key, ended=True)
    assert await charger.refusal(charger.tls(expired, LEAF_KEY)) == 403, "expired"
    unlisted = forged(charger.serial, issuer=issuing.subject, key=ca_key)
    assert await charger.refusal(charger.tls(unlisted, LEAF_KEY)) == 403, "perfect, and in no inventory"
    other = forged("SN-of-another", issuer=issuing.subject, key=ca_key)
    assert await charger.refusal(charger.tls(other, LEAF_KEY)) == 403, "CN is not the serial number"
    right_name = {"expected_common_name": charger.serial}
    path = f"/api/v1/chargers/{charger.charger_id}"
    await system.patch(path, {"expected_common_name": "SN-after-an-exchange"})
    assert await charger.until_refused(charger.tls()) == 403, "a known leaf whose CN is not the serial number"
    await system.patch(path, right_name)
    async with charger.connected(await admitted_again(charger)) as session:
        await charger.boot(session)


LEAF_KEY = ec.generate_private_key(ec.SECP256R1())


def forged(
    common_name: str,
    *,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    ended: bool = False,
) -> str:
    """A leaf for LEAF_KEY, signed with a key that says it is the issuer's."""
    now = datetime.now(UTC)
    subject = [
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
    ]
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(issuer)
        .public_key(LEAF_KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=-1 if ended else 9))
    )
    return leaf.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def stolen_key(
    system: ControlPlane, issuing: x509.Certificate
) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """The issuing CA's own key, out of the AWS peer's state: the strongest forger there can be."""
    for path in (system.folder / "data" / "aws" / "state" / "keys").iterdir():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if key.public_key() == issuing.public_key():
            assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
            return key
    raise AssertionError("the peer keeps its keys elsewhere now")


async def admitted_again(charger: Charger) -> ssl.SSLContext:
    """Try until the gateway has heard that the name is right again."""
    async with asyncio.timeout(10):
        while await charger.refusal(charger.tls()) == 403:
            continue
    return charger.tls()


# ---------------------------------------------------------------- A: certificates


@IN_BOTH_VERSIONS
async def test_tc_a_11_renewal_of_the_charging_stations_certificate(
    system: ControlPlane, tmp_path: Path
) -> None:
    """Trigger, CSR Accepted, chain without the root; the job ends when the new leaf is seen live, the old one has its grace."""
    charger = await Charger.enrolled(system, tmp_path)
    old_leaf, old_key, old_chain = certificates(charger.chain_pem)[0], charger.key, charger.chain_pem
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        job_id = await system.order(charger.charger_id, "renew")
        told = await charger.obey(session, until="CertificateSigned")
    assert told["TriggerMessage"].payload == {"requestedMessage": "SignChargingStationCertificate"}
    signed = told["CertificateSigned"].payload
    assert signed["certificateType"] == STATION_CERTIFICATE
    leaf, *issuers = certificates(signed["certificateChain"])
    assert leaf.fingerprint(hashes.SHA256()) != old_leaf.fingerprint(hashes.SHA256())
    assert charger.key is not None
    assert leaf.public_key() == charger.key.public_key()
    roots = [pem for pem in system.anchors if _names(pem, issuers[-1].issuer)]
    assert any(accepted_by(root, leaf, issuers) for root in roots)
    assert all(issuer.subject != issuer.issuer for issuer in issuers), "no root travels"
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")
        shown = await system.charger(charger.charger_id)
        assert shown["session"]["fingerprint_sha256"] == leaf.fingerprint(hashes.SHA256()).hex()
    async with charger.connected(charger.tls(old_chain, old_key)) as session:
        await charger.boot(session)
        shown = await system.until_charger(
            charger.charger_id,
            lambda found: (
                found["session"]
                and found["session"]["fingerprint_sha256"] == old_leaf.fingerprint(hashes.SHA256()).hex()
            ),
        )
        assert shown["session"]["flags"] == ["superseded-credential"], "within its grace, and flagged"


def _names(pem: str, subject: x509.Name) -> bool:
    return x509.load_pem_x509_certificate(pem.encode()).subject == subject


@IN_BOTH_VERSIONS
async def test_tc_a_14_certificate_rejected_by_the_charging_station(
    system: ControlPlane, tmp_path: Path
) -> None:
    """SignCertificate is Accepted; when the charger rejects the leaf the job fails with that reason, and nothing else."""
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(
            session, until="CertificateSigned", CertificateSigned=lambda _: {"status": "Rejected"}
        )
        event = {"type": "InvalidChargingStationCertificate", "timestamp": "2026-01-01T00:00:00Z"}
        assert await session.call("SecurityEventNotification", event) == {}
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert (job["state"], job["reason"]["code"]) == ("failed", "certificate-rejected-by-charger")
        assert await system.until_items(
            f"/api/v1/security-events?charger_id={charger.charger_id}&kind={event['type']}", bool
        )
        assert (await system.charger(charger.charger_id))["session"] is not None


@IN_BOTH_VERSIONS
async def test_tc_a_19_upgrade_of_the_security_profile(system: ControlPlane, tmp_path: Path) -> None:
    """SetNetworkProfile, NetworkConfigurationPriority, Reset; once profile 3 is seen the old one is refused."""
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await charger.obey(session, until="Reset")
    profile = told["SetNetworkProfile"].payload
    data = profile["connectionData"]
    version = None if charger.version == "2.1" else "OCPP20"  # a 2.1 charger ignores it (B09)
    assert (data["securityProfile"], data["ocppTransport"], data.get("ocppVersion")) == (3, "JSON", version)
    assert data["ocppCsmsUrl"] == system.ocpp_url
    assert data["messageTimeout"] > 0
    [variable] = told["SetVariables"].payload["setVariableData"]
    assert (variable["component"]["name"], variable["variable"]["name"]) == (
        "OCPPCommCtrlr",
        "NetworkConfigurationPriority",
    )
    assert variable["attributeValue"].split(",")[0] == str(profile["configurationSlot"])
    assert len(variable["attributeValue"].split(",")) == 2, "the old slot stays, to fall back on"
    assert told["Reset"].payload == {"type": "OnIdle"}
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
    await system.until_job(job_id, lambda job: job["state"] == "succeeded")
    assert await charger.until_refused(authorization=charger.basic()) == 403
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        assert (await system.charger(charger.charger_id))["security_profile"] == 3


async def test_the_old_profile_is_admitted_until_the_new_one_has_been_seen(
    system: ControlPlane, tmp_path: Path
) -> None:
    charger = await Charger.registered(system, tmp_path)
    await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(session, until="Reset")
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)


# ---------------------------------------------------------------- B


@IN_BOTH_VERSIONS
async def test_tc_b_58_subprotocol(system: ControlPlane, tmp_path: Path) -> None:
    """400 without an upgrade where no offered version is known; else exactly the known one."""
    charger = await Charger.registered(system, tmp_path)
    with pytest.raises(InvalidStatus) as refused:
        async with charger.connected(authorization=charger.basic(), subprotocols=("ocpp0.1",)):
            pass
    assert refused.value.response.status_code == 400
    assert "Upgrade" not in refused.value.response.headers
    known = f"ocpp{charger.version}"
    both = ("ocpp0.1", known)
    async with charger.connected(authorization=charger.basic(), subprotocols=both) as session:
        assert session.socket.subprotocol == known
        await charger.boot(session)


# ---------------------------------------------------------------- M: trust anchors


@IN_BOTH_VERSIONS
async def test_tc_m_01_install_a_csms_root(system: ControlPlane, tmp_path: Path) -> None:
    """Every anchor of the bundle is installed as CSMSRootCertificate, letter by letter."""
    charger = await Charger.registered(system, tmp_path)
    await system.order(charger.charger_id)
    sent: list[Payload] = []

    def keep(call: object) -> Payload:
        sent.append(call.payload)  # type: ignore[attr-defined]
        return charger._as_told(call)  # type: ignore[arg-type]

    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(session, until="GetInstalledCertificateIds", InstallCertificate=keep)
    assert {each["certificateType"] for each in sent} == {"CSMSRootCertificate"}
    fingerprints = {
        x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA256()).hex()
        for pem in system.anchors
    }
    assert set(charger.roots) == fingerprints
    assert sorted(each["certificate"].strip() for each in sent) == sorted(
        pem.strip() for pem in system.anchors
    )


@IN_BOTH_VERSIONS
async def test_tc_m_05_install_failed(system: ControlPlane, tmp_path: Path) -> None:
    """The job waits at the trust gate, names the refusal, and tries again with back-off; no leaf is delivered."""
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(
            session, until="InstallCertificate", InstallCertificate=lambda _: {"status": "Failed"}
        )
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert (job["state"], job["stage"]) == ("open", "awaiting-trust-anchor")
        assert job["reason"]["code"] == "install-anchor-refused"
        assert job["reason"]["message"].endswith("Failed")
        await charger.boot(session)


@IN_BOTH_VERSIONS
@pytest.mark.parametrize("algorithm", HASHES)
async def test_tc_m_12_list_csms_roots(system: ControlPlane, tmp_path: Path, algorithm: str) -> None:
    """The list confirms the anchors whichever of the three hash algorithms the charger uses."""
    charger = await Charger.registered(system, tmp_path)
    charger.algorithm = algorithm
    await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        told = await charger.obey(session, until="TriggerMessage")
    assert told["GetInstalledCertificateIds"].payload == {"certificateType": ["CSMSRootCertificate"]}
    shown = await system.until_charger(charger.charger_id, lambda found: found["trust_anchors"])
    assert shown["trust_anchors"][0]["rung"] == "listed"
    reported = [entry["hash_data"] for entry in shown["reported_certificates"]]
    assert {each["algorithm"] for each in reported} == {algorithm}
    assert len(reported) == len(system.anchors)


@IN_BOTH_VERSIONS
async def test_tc_m_19_no_certificate_found(system: ControlPlane, tmp_path: Path) -> None:
    """NotFound is a list with nothing in it: the anchor counts as not installed, and the job says so."""
    charger = await Charger.registered(system, tmp_path)
    job_id = await system.order(charger.charger_id)
    async with charger.connected(authorization=charger.basic()) as session:
        await charger.boot(session)
        await charger.obey(
            session,
            until="GetInstalledCertificateIds",
            GetInstalledCertificateIds=lambda _: {"status": "NotFound"},
        )
        job = await system.until_job(job_id, lambda job: job["reason"])
        assert (job["state"], job["reason"]["code"]) == ("open", "trust-anchor-not-listed")
        await charger.boot(session)
