"""ACM: the gateway and an unmodified client at the peer, and a load balancer's certificate kept equal to what is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bfactors.ca import NotReady, Permanent, QuotaExhausted, Transient
from bfactors.server_certificate import Forecast
from bfactors.settings import Settings
from bfactors.x509 import load, parse_certificates
from deploy.role.load_balancer import LoadBalancerCertificates
from deploy.role.server_desk import ServerDesk
from gateways.acm.certificate_manager import AcmOrder, CertificateManager
from gateways.ca.aws_session import AwsClients
from simulator.aws import FaultOrder, PeerConfig, RunningPeer, serve
from simulator.aws.duty_role import DUTY_ROLES, role_arn
from tests.contract.test_ca_aws import aws_settings
from tests.core.x509_maker import Authority, Pair
from tests.fakes.ca import CountedMetrics, ManualTime

REALM = "backend-server"
ROOT = Authority.root("Server root")
PEERS_CLOCK = timedelta(days=395)


@dataclass
class Side:
    """The peer, a client as it is, and the gateway over it."""

    peer: RunningPeer
    client: Any
    manager: CertificateManager
    metrics: CountedMetrics

    @property
    def order(self) -> AcmOrder:
        return AcmOrder(
            authority_arn=self.peer.arns[REALM].issuing_arn,
            names=("ocpp.example.com", "log.example.com"),
            key_algorithm="EC_prime256v1",
        )

    def not_ready_for(self, seconds: float) -> None:
        object.__setattr__(self.peer.control.registry.config, "ready_delay", timedelta(seconds=seconds))

    def calls(self, operation: str) -> int:
        return len(self.peer.journal.entries(f"acm:{operation}", None))


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[Side]:
    async with AsyncExitStack() as stack:
        peer = await serve(PeerConfig(tmp_path, realms=(REALM,), roles=tuple(DUTY_ROLES.values())))
        stack.push_async_callback(peer.close)
        role = role_arn(peer.control.registry.config.account_id, DUTY_ROLES["server-certs"])
        clients = AwsClients(aws_settings(peer.url).under(role))
        stack.push_async_callback(clients.close)
        client = await clients.open("acm")
        metrics = CountedMetrics()

        async def at_once(_: float) -> None:
            return None

        yield Side(peer, client, CertificateManager(client, metrics, sleep=at_once), metrics)


def server_pair(kind: str = "ec") -> Pair:
    return ROOT.sub().leaf("ocpp.example.com", kind=kind, usage="server", dns_name="ocpp.example.com")


# ---------------------------------------------------------------- asked of our own CA


async def test_a_private_certificate_is_requested_issued_and_described(side: Side) -> None:
    arn = await side.manager.request(side.order)
    said = await side.manager.describe(arn)
    chain = parse_certificates(await side.manager.fetch(arn))
    assert (said.status, said.kind, said.renewable) == ("ISSUED", "PRIVATE", True)
    assert said.names == ("ocpp.example.com", "log.example.com")
    assert said.serial_number == chain[0].serial_number
    assert said.not_after == chain[0].not_after
    assert (chain[0].not_after - side.peer.clock.now()).days in (394, 395)
    assert chain[0].extended_key_usage == ("1.3.6.1.5.5.7.3.1",)


async def test_until_it_is_issued_it_is_not_ready_and_nothing_is_asked_twice(side: Side) -> None:
    side.not_ready_for(3)
    arn = await side.manager.request(side.order)
    assert (await side.manager.describe(arn)).status == "PENDING_VALIDATION"
    with pytest.raises(NotReady):
        await side.manager.fetch(arn)
    assert side.calls("RequestCertificate") == 1


async def test_the_same_order_within_the_hour_is_the_same_certificate_and_another_is_another(
    side: Side,
) -> None:
    first = await side.manager.request(side.order)
    assert await side.manager.request(side.order) == first
    other = replace(side.order, key_algorithm="RSA_2048")
    assert other.token != side.order.token
    assert await side.manager.request(other) != first
    side.peer.clock.advance(timedelta(minutes=61))
    assert await side.manager.request(side.order) != first


async def test_an_answer_lost_after_the_request_leads_to_the_same_certificate(side: Side) -> None:
    side.peer.faults.add([FaultOrder(operation="acm:RequestCertificate", after="after-effect")])
    await side.manager.request(side.order)
    issued = side.peer.control.statistics()["certificates"][side.order.authority_arn]["issued"]
    assert (issued, side.calls("RequestCertificate")) == (1, 2)


async def test_a_renewal_keeps_the_arn_and_changes_key_and_serial(side: Side) -> None:
    arn = await side.manager.request(side.order)
    before = parse_certificates(await side.manager.fetch(arn))[0]
    await side.manager.renew(arn)
    after = parse_certificates(await side.manager.fetch(arn))[0]
    assert after.serial_number != before.serial_number
    assert after.spki_sha256 != before.spki_sha256
    assert (await side.manager.describe(arn)).serial_number == after.serial_number


async def test_a_renewal_whose_answer_was_lost_is_not_asked_for_again(side: Side) -> None:
    arn = await side.manager.request(side.order)
    side.peer.faults.add([FaultOrder(operation="acm:RenewCertificate", after="after-effect")])
    with pytest.raises(Transient) as lost:
        await side.manager.renew(arn)
    assert lost.value.may_have_happened
    assert side.calls("RenewCertificate") == 1


async def test_key_and_chain_are_exported_under_the_passphrase(side: Side) -> None:
    arn = await side.manager.request(side.order)
    chain, sealed = await side.manager.export(arn, b"correct horse")
    key = load_pem_private_key(sealed.encode(), b"correct horse")
    assert key.public_key() == load(parse_certificates(chain)[0].der).public_key()
    with pytest.raises(ValueError, match=r"."):
        load_pem_private_key(sealed.encode(), b"wrong horse")


# ---------------------------------------------------------------- imported


async def test_an_import_into_the_same_arn_changes_what_it_names(side: Side) -> None:
    first, second = server_pair(), server_pair()
    arn = await side.manager.import_new(first.chain_pem, first.key_pem.encode())
    assert (await side.manager.describe(arn)).kind == "IMPORTED"
    await side.manager.import_under(arn, second.chain_pem, second.key_pem.encode())
    assert parse_certificates(await side.manager.fetch(arn)) == parse_certificates(second.chain_pem)
    said = await side.manager.describe(arn)
    assert (said.serial_number, said.renewable) == (parse_certificates(second.pem)[0].serial_number, False)


@pytest.mark.parametrize("what", ["foreign key", "no pem", "a private one's arn", "an unknown arn"])
async def test_what_cannot_be_imported_is_refused_for_good(side: Side, what: str) -> None:
    pair, other = server_pair(), server_pair()
    arn = await side.manager.import_new(pair.chain_pem, pair.key_pem.encode())
    chain, key = pair.chain_pem, pair.key_pem
    match what:
        case "foreign key":
            key = other.key_pem
        case "no pem":
            chain = "nothing"
        case "a private one's arn":
            arn = await side.manager.request(side.order)
        case "an unknown arn":
            arn = arn[:-12] + "000000000000"
    with pytest.raises(Permanent) as refused:
        await side.manager.import_under(arn, chain, key.encode())
    assert "PRIVATE KEY" not in str(refused.value)


@pytest.mark.parametrize("operation", ["renew", "export"])
async def test_an_imported_certificate_is_neither_renewed_nor_exported(side: Side, operation: str) -> None:
    pair = server_pair()
    arn = await side.manager.import_new(pair.chain_pem, pair.key_pem.encode())
    with pytest.raises(Permanent):
        await (side.manager.renew(arn) if operation == "renew" else side.manager.export(arn, b"passphrase"))


async def test_an_import_without_an_arn_is_not_repeated_when_it_may_have_arrived(side: Side) -> None:
    pair = server_pair()
    side.peer.faults.add([FaultOrder(operation="acm:ImportCertificate", after="after-effect")])
    with pytest.raises(Transient):
        await side.manager.import_new(pair.chain_pem, pair.key_pem.encode())
    assert side.calls("ImportCertificate") == 1


# ---------------------------------------------------------------- errors


async def test_throttling_and_server_errors_are_repeated_and_a_quota_is_not(side: Side) -> None:
    arn = await side.manager.request(side.order)
    side.peer.faults.add(
        [
            FaultOrder(operation="acm:DescribeCertificate", error="ThrottlingException"),
            FaultOrder(operation="acm:DescribeCertificate", error="InternalFailure", status=500),
        ]
    )
    assert (await side.manager.describe(arn)).status == "ISSUED"
    assert side.calls("DescribeCertificate") == 3
    side.peer.faults.add([FaultOrder(operation="acm:RequestCertificate", error="LimitExceededException")])
    with pytest.raises(QuotaExhausted):
        await side.manager.request(replace(side.order, names=("b.example.com",)))
    assert side.calls("RequestCertificate") == 2


async def test_calls_are_made_under_the_role_of_server_certificates_and_no_other_may(side: Side) -> None:
    arn = await side.manager.request(side.order)
    callers = {entry.caller for entry in side.peer.journal.entries("acm:RequestCertificate", None)}
    assert callers == {"betterfleet-server-certs"}
    issuer = role_arn(side.peer.control.registry.config.account_id, DUTY_ROLES["charger-issuer"])
    clients = AwsClients(aws_settings(side.peer.url).under(issuer))
    with pytest.raises(ClientError, match="AccessDenied"):
        await (await clients.open("acm")).describe_certificate(CertificateArn=arn)
    await clients.close()


# ---------------------------------------------------------------- kept equal to what is shown


class NobodyStranded:
    async def forecast(self, chain: object) -> Forecast:
        return Forecast(total=0, stranded=0, groups=(), bundles=())


async def shown(folder: Path, *pairs: Pair) -> ServerDesk:
    files = [pair.write(folder, f"server-{at}") for at, pair in enumerate(pairs)]
    settings = Settings(
        server_chain_files=tuple(chain for chain, _ in files), server_key_files=tuple(key for _, key in files)
    )
    desk = ServerDesk(settings, None, ManualTime(), CountedMetrics())
    desk.trust = NobodyStranded()  # type: ignore[assignment]
    await desk.first()
    return desk


async def test_an_import_follows_what_is_shown_by_kind_of_key_and_only_when_it_changed(
    side: Side, tmp_path: Path
) -> None:
    old = {kind: server_pair(kind) for kind in ("ec", "rsa2048")}
    arns = [await side.manager.import_new(p.chain_pem, p.key_pem.encode()) for p in old.values()]
    new = {kind: server_pair(kind) for kind in ("rsa2048", "ec")}
    desk = await shown(tmp_path, *new.values())
    follower = LoadBalancerCertificates(side.manager, arns, desk)
    await follower.look()
    for arn, kind in zip(arns, old, strict=True):
        assert parse_certificates(await side.manager.fetch(arn)) == parse_certificates(new[kind].chain_pem)
        assert follower.known[arn].serial_number == parse_certificates(new[kind].pem)[0].serial_number
    imports = side.calls("ImportCertificate")
    await follower.look()
    assert side.calls("ImportCertificate") == imports == 4


async def test_files_that_are_not_shown_yet_are_not_imported(side: Side, tmp_path: Path) -> None:
    """The gate keeps a new issuer back: the load balancer must not be the way around it."""
    first = server_pair()
    arn = await side.manager.import_new(first.chain_pem, first.key_pem.encode())
    second = server_pair()
    desk = await shown(tmp_path, second)
    Authority.root("Stranger").leaf("ocpp.example.com", usage="server").write(tmp_path, "server-0")
    follower = LoadBalancerCertificates(side.manager, [arn], desk)
    await follower.look()
    assert parse_certificates(await side.manager.fetch(arn)) == parse_certificates(first.chain_pem)


async def test_what_acm_renews_itself_is_left_alone_and_one_lost_arn_holds_up_no_other(
    side: Side, tmp_path: Path
) -> None:
    private = await side.manager.request(side.order)
    before = await side.manager.fetch(private)
    imported = server_pair()
    arn = await side.manager.import_new(imported.chain_pem, imported.key_pem.encode())
    mine = server_pair()
    follower = LoadBalancerCertificates(
        side.manager, ["arn:aws:acm:eu-central-1:1:certificate/x", private, arn], await shown(tmp_path, mine)
    )
    await follower.look()
    assert await side.manager.fetch(private) == before
    assert parse_certificates(await side.manager.fetch(arn)) == parse_certificates(mine.chain_pem)
