"""What a role could do is asked of AWS at start: at the peer, through an unmodified AWS client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aioboto3
import pytest
from botocore.exceptions import ClientError

from bfactors.aws_duty import CORE, DUTIES, Duty
from bfactors.ca import SigningOrder, Transient
from bfactors.settings import Settings
from deploy.role.authority import CaClients
from deploy.role.role_watch import RoleWatch, open_role_watch
from gateways.ca.aws_private_ca import AwsPrivateCa
from gateways.ca.aws_session import AwsSettings
from gateways.ca.call_limits import CallLimits
from gateways.ca.retry import RetryPolicy
from gateways.ca.role_probe import Probed, RoleProbe
from simulator.aws import PeerConfig, Role, RunningPeer, serve
from simulator.aws.duty_role import DUTY_ROLES, role_arn
from simulator.aws.hierarchy import add_issuing
from tests.contract.test_ca_aws import aws_settings
from tests.core import pki
from tests.fakes.ca import CountedMetrics, LeapingTime

REALMS = ("charger-identity", "backend-server")
SIMULATE = "iam:SimulatePrincipalPolicy"


@asynccontextmanager
async def peer_with(folder: Path, *roles: Role, **changes: Any) -> AsyncIterator[RunningPeer]:
    peer = await serve(PeerConfig(folder, realms=REALMS, roles=roles, quotas_per_s={}, **changes))
    try:
        yield peer
    finally:
        await peer.close()


def issuing(peer: RunningPeer) -> dict[str, frozenset[str]]:
    return {realm: frozenset({arns.issuing_arn}) for realm, arns in peer.arns.items()}


def issuing_twice(peer: RunningPeer) -> dict[str, frozenset[str]]:
    """Every realm with the CA it is rolled over to."""
    registry = peer.control.registry
    return {
        realm: frozenset(
            {
                arns.issuing_arn,
                add_issuing(
                    registry.config, registry.store, registry.hierarchy, registry.named(arns.issuing_arn)
                ).arn,
            }
        )
        for realm, arns in peer.arns.items()
    }


async def probed(
    peer: RunningPeer,
    duty: Duty,
    role: Role | None = None,
    authorities: dict[str, frozenset[str]] | None = None,
) -> Probed:
    arn = role_arn(peer.control.registry.config.account_id, role) if role is not None else ""
    probe = RoleProbe(duty, aws_settings(peer.url).under(arn))
    try:
        return await probe.look(issuing(peer) if authorities is None else authorities)
    finally:
        await probe.close()


def codes(found: Probed) -> set[str]:
    return {text.split(":")[2].partition(" ")[0] for text in found.findings}


def more(duty: str, *operations: str, **changes: Any) -> Role:
    """A duty's role with something added."""
    role = DUTY_ROLES[duty]
    values = {
        "name": role.name,
        "operations": role.operations | set(operations),
        "realms": role.realms,
        "templates": role.templates,
    }
    return Role(**(values | changes))


@pytest.mark.parametrize("duty", DUTIES.values(), ids=lambda duty: duty.name)
async def test_a_role_that_is_as_it_should_be_is_verified_without_a_finding(
    tmp_path: Path, duty: Duty
) -> None:
    async with peer_with(tmp_path, *DUTY_ROLES.values()) as peer:
        assert await probed(peer, duty, DUTY_ROLES[duty.name]) == Probed()


@pytest.mark.parametrize(
    ("duty", "role", "code"),
    [
        ("charger-issuer", more("charger-issuer", "CreateCertificateAuthority"), "could-change-authorities"),
        ("revoker", more("revoker", "PutPolicy"), "could-change-authorities"),
        (
            "charger-issuer",
            more("charger-issuer", realms=frozenset({"charger-identity", "backend-server"})),
            "could-use-foreign-authority",
        ),
        ("charger-issuer", more("charger-issuer", realms=frozenset()), "could-use-foreign-authority"),
        (
            "server-certs",
            more(
                "server-certs",
                templates=frozenset({"EndEntityServerAuthCertificate", "SubordinateCACertificate_PathLen0"}),
            ),
            "could-use-ca-template",
        ),
        ("charger-issuer", more("charger-issuer", templates=frozenset()), "could-issue-otherwise"),
        ("charger-issuer", more("charger-issuer", "RevokeCertificate"), "could-revoke"),
        ("revoker", more("revoker", "IssueCertificate"), "could-issue-otherwise"),
        ("auditor", more("auditor", "iam:PutRolePolicy"), "could-widen-itself"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_role_that_could_do_more_is_found(tmp_path: Path, duty: str, role: Role, code: str) -> None:
    async with peer_with(tmp_path, role) as peer:
        found = await probed(peer, DUTIES[duty], role)
    assert code in codes(found)
    assert found.unverified is None
    assert all(text.startswith(f"aws-role:{duty}:") for text in found.findings)


async def test_a_finding_says_with_which_template_at_which_ca(tmp_path: Path) -> None:
    role = more("charger-issuer", templates=frozenset())
    async with peer_with(tmp_path, role) as peer:
        found = await probed(peer, DUTIES["charger-issuer"], role)
        arn = peer.arns["charger-identity"].issuing_arn
    wanted = (
        "aws-role:charger-issuer:could-use-ca-template "
        f"(acm-pca:IssueCertificate with SubordinateCACertificate_PathLen0/V1 on {arn})"
    )
    assert wanted in found.findings


async def test_every_ca_of_a_realm_is_asked_about(tmp_path: Path) -> None:
    role = more("charger-issuer", "RevokeCertificate", realms=frozenset())
    async with peer_with(tmp_path, role) as peer:
        authorities = issuing_twice(peer)
        found = await probed(peer, DUTIES["charger-issuer"], role, authorities)
    for code, realm in (
        ("could-revoke", "charger-identity"),
        ("could-use-foreign-authority", "backend-server"),
    ):
        assert len(authorities[realm]) == 2
        named = {text.rpartition(" on ")[2].rstrip(")") for text in found.findings if f":{code} " in text}
        assert authorities[realm] <= named


async def test_a_role_that_may_not_ask_is_caught_reading_any_ca_of_another_realm(tmp_path: Path) -> None:
    mute = DUTY_ROLES["charger-issuer"]
    roaming = Role(mute.name, mute.operations - {SIMULATE}, frozenset(), mute.templates)
    async with peer_with(tmp_path, roaming) as peer:
        authorities = issuing_twice(peer)
        found = await probed(peer, DUTIES["charger-issuer"], roaming, authorities)
    assert len(found.findings) == len(authorities["backend-server"]) == 2


async def test_a_role_that_may_not_ask_is_unverified_and_still_caught_reading_another_realm(
    tmp_path: Path,
) -> None:
    mute = more("charger-issuer", operations=DUTY_ROLES["charger-issuer"].operations - {SIMULATE})
    async with peer_with(tmp_path / "a", mute) as peer:
        found = await probed(peer, DUTIES["charger-issuer"], mute)
    assert found.findings == ()
    assert "SimulatePrincipalPolicy" in str(found.unverified)

    roaming = Role(mute.name, mute.operations, frozenset(), mute.templates)
    async with peer_with(tmp_path / "b", roaming) as peer:
        found = await probed(peer, DUTIES["charger-issuer"], roaming)
    assert codes(found) == {"could-use-foreign-authority"}
    assert found.unverified is not None


async def test_nothing_is_issued_revoked_or_changed_by_asking(tmp_path: Path) -> None:
    async with peer_with(tmp_path, *DUTY_ROLES.values()) as peer:
        before = peer.control.statistics()["certificates"]
        for duty in DUTIES.values():
            await probed(peer, duty, DUTY_ROLES[duty.name])
        assert peer.control.statistics()["certificates"] == before
        assert {"AssumeRole", "SimulatePrincipalPolicy"} >= set(peer.control.statistics()["calls"])


async def test_credentials_without_a_role_are_asked_who_they_are(tmp_path: Path) -> None:
    async with peer_with(tmp_path) as peer:
        found = await probed(peer, CORE)  # a user of an account that restricts nobody
    assert {"could-change-authorities", "could-use-ca-template", "could-widen-itself"} <= codes(found)


# ---------------------------------------------------------------- in the process


def watch(peer_url: str, authorities: dict[str, frozenset[str]], **roles: str) -> RoleWatch:
    settings = Settings(aws_role_arns={name.replace("_", "-"): arn for name, arn in roles.items()})
    return open_role_watch(settings, aws_settings(peer_url), authorities, CountedMetrics())


async def test_a_finding_makes_core_unready_until_it_is_gone(tmp_path: Path) -> None:
    role = more("charger-issuer", "DeleteCertificateAuthority")
    account = PeerConfig(tmp_path).account_id
    async with peer_with(tmp_path, role) as peer:
        roles = watch(peer.url, issuing(peer), charger_issuer=role_arn(account, role))
        clients = CaClients({}, {}, CallLimits(monotonic=lambda: 0.0), roles)
        assert clients.missing() == []  # nothing is known before it is asked
        probe = roles._probes[0]
        assert await roles.look(probe)
        assert any(
            "could-change-authorities (acm-pca:DeleteCertificateAuthority" in m for m in clients.missing()
        )
        # an administrator takes it away again
        object.__setattr__(peer.control.registry.config, "roles", (DUTY_ROLES["charger-issuer"],))
        assert await roles.look(probe)
        assert clients.missing() == []
        await clients.close()


async def test_aws_being_away_claims_nothing_and_forgets_nothing(tmp_path: Path) -> None:
    role = more("charger-issuer", "DeleteCertificateAuthority")
    account = PeerConfig(tmp_path).account_id
    async with peer_with(tmp_path, role) as peer:
        authorities, url = issuing(peer), peer.url
        roles = watch(url, authorities, charger_issuer=role_arn(account, role))
        assert await roles.look(roles._probes[0])
        known = roles.missing()
    assert known
    assert not await roles.look(roles._probes[0])
    assert roles.missing() == known
    fresh = watch(url, authorities, charger_issuer=role_arn(account, role))
    assert not await fresh.look(fresh._probes[0])
    assert fresh.missing() == []
    with pytest.raises(Transient):
        await fresh._probes[0].look(authorities)
    await roles.close()
    await fresh.close()


class Listening:
    """A probe that tells which CAs it was asked about."""

    duty = CORE

    def __init__(self) -> None:
        self.asked: asyncio.Queue[dict[str, frozenset[str]]] = asyncio.Queue()

    async def look(self, authorities: dict[str, frozenset[str]]) -> Probed:
        self.asked.put_nowait(dict(authorities))
        return Probed()


async def test_a_ca_that_becomes_known_is_asked_about_at_once_and_only_then() -> None:
    probe = Listening()
    roles = RoleWatch(
        [cast("RoleProbe", probe)], {"charger-identity": frozenset({"arn:1"})}, CountedMetrics()
    )
    clients = CaClients({}, {}, CallLimits(monotonic=lambda: 0.0), roles)
    running = asyncio.create_task(roles.run())
    try:
        assert await probe.asked.get() == {"charger-identity": frozenset({"arn:1"})}
        clients.know("charging_station", "arn:2")
        assert await probe.asked.get() == {"charger-identity": frozenset({"arn:1", "arn:2"})}
        clients.know("backend_server", "arn:3")
        assert (await probe.asked.get())["backend-server"] == frozenset({"arn:3"})
        clients.know("charging_station", "arn:2")
        for _ in range(10):
            await asyncio.sleep(0)
        assert probe.asked.empty()
    finally:
        running.cancel()


def test_every_named_role_is_asked_about_and_the_one_behind_them_where_a_duty_has_none() -> None:
    realms = {"charger-identity": frozenset({"arn:1"}), "backend-server": frozenset({"arn:2"})}

    def duties(**roles: str) -> list[str]:
        return [probe.duty.name for probe in watch("http://unused", realms, **roles)._probes]

    assert duties() == ["core"]
    assert duties(charger_issuer="a") == ["charger-issuer", "core"]
    assert duties(charger_issuer="a", server_certs="b", revoker="c", auditor="d") == [
        "auditor",
        "charger-issuer",
        "revoker",
        "server-certs",
    ]


async def test_each_call_is_made_under_the_role_of_its_duty(tmp_path: Path) -> None:
    async with peer_with(tmp_path, *DUTY_ROLES.values()) as peer:
        account = peer.control.registry.config.account_id
        time = LeapingTime(peer.clock.now())

        def under(duty: str) -> AwsSettings:
            return aws_settings(peer.url).under(role_arn(account, DUTY_ROLES[duty]))

        ca = AwsPrivateCa(
            under("charger-issuer"),
            clock=time,
            metrics=CountedMetrics(),
            limits=CallLimits(monotonic=time.monotonic, sleep=time.sleep),
            retry=RetryPolicy(sleep=time.sleep),
            revoker=under("revoker"),
        )
        await ca.start()
        arn = peer.arns["charger-identity"].issuing_arn
        now = time.now().replace(microsecond=0)
        order = SigningOrder(
            authority_arn=arn,
            token="t" * 32,
            csr_pem=pki.csr("SN-1"),
            template="EndEntityClientAuthCertificate/V1",
            signing_algorithm="SHA256WITHECDSA",
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=90),
            call_before=now + timedelta(minutes=4),
        )
        reference = await ca.issue(order)
        serial = reference.rpartition("/")[2]
        await ca.revoke(arn, serial, "superseded")
        await ca.close()
        callers = {entry.operation: entry.caller for entry in peer.journal.entries(None, None)}
    assert callers["IssueCertificate"] == "betterfleet-charger-issuer"
    assert callers["RevokeCertificate"] == "betterfleet-revoker"


# ---------------------------------------------------------------- the peer itself


async def test_the_peer_tells_a_caller_who_he_is_and_only_a_role_about_itself(tmp_path: Path) -> None:
    async with peer_with(tmp_path, *DUTY_ROLES.values()) as peer:
        account = peer.control.registry.config.account_id
        session = aioboto3.Session(
            aws_access_key_id="AKIATEST", aws_secret_access_key="x", region_name="eu-central-1"
        )
        async with session.client("sts", endpoint_url=peer.url) as sts:
            assert (await sts.get_caller_identity())["Arn"] == f"arn:aws:iam::{account}:user/AKIATEST"
            assumed = (
                await sts.assume_role(RoleArn=role_arn(account, DUTY_ROLES["revoker"]), RoleSessionName="one")
            )["Credentials"]
        as_role = aioboto3.Session(
            aws_access_key_id=assumed["AccessKeyId"],
            aws_secret_access_key=assumed["SecretAccessKey"],
            aws_session_token=assumed["SessionToken"],
            region_name="eu-central-1",
        )
        async with as_role.client("sts", endpoint_url=peer.url) as sts:
            wanted = f"arn:aws:sts::{account}:assumed-role/betterfleet-revoker/one"
            assert (await sts.get_caller_identity())["Arn"] == wanted
        async with as_role.client("iam", endpoint_url=peer.url) as iam:
            own = role_arn(account, DUTY_ROLES["revoker"])
            answer = await iam.simulate_principal_policy(
                PolicySourceArn=own,
                ActionNames=["acm-pca:RevokeCertificate", "acm-pca:IssueCertificate"],
                ResourceArns=[peer.arns["backend-server"].issuing_arn],
            )
            decisions = {r["EvalActionName"]: r["EvalDecision"] for r in answer["EvaluationResults"]}
            assert decisions == {
                "acm-pca:RevokeCertificate": "allowed",
                "acm-pca:IssueCertificate": "implicitDeny",
            }
            other = role_arn(account, DUTY_ROLES["auditor"])
            with pytest.raises(ClientError, match="AccessDenied"):
                await iam.simulate_principal_policy(PolicySourceArn=other, ActionNames=["iam:PassRole"])
