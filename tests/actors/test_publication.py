"""The actor that looks for revocations where everybody could read of them; lists and responders in memory, time by hand."""

from __future__ import annotations

import asyncio
import itertools
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from actors.issuance.message import Settled, Wanted
from actors.publication import PublicationActor, PublicationPorts
from bfactors import evidence as v
from bfactors.effect import WatchPublication
from bfactors.errors import NotFetched, Unavailable
from bfactors.ocsp import NotBelieved
from bfactors.revocation_answer import RevocationAnswer
from bfactors.revocation_list import RevocationList, SeenList, read_list
from tests.core.test_revocation_list import leaf, point
from tests.fakes.ca import START, CountedMetrics, ManualTime, settle
from tests.fakes.revocation import Issuer
from tests.patience import PATIENCE_S

ADDRESS = "http://crl.example/1.crl"
RESPONDER = "http://ocsp.example/"


class World:
    """One node's actor, the CA's list, its responder, and the ledger that settles what it is told."""

    def __init__(self) -> None:
        self.time = ManualTime()
        self.metrics = CountedMetrics()
        self.issuer = Issuer()
        self.issuer_pem = self.issuer.certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.revoked: set[int] = set()
        self.answers: dict[str, str] = {}
        self.list_of: datetime | None = None
        self.failure: Exception | None = None
        self.read: list[tuple[float, str]] = []
        self.asked: list[str] = []
        self.newest: list[tuple[str, str]] = []
        self.noted: dict[str, SeenList] = {}
        self.numbers: dict[str, int] = {}
        self.lags: dict[str, timedelta] = {}
        self.store_is_away = False
        self.evidence: dict[str, v.Evidence] = {}
        self.settles = True
        self.failures: list[BaseException] = []
        self.actor = self.new_actor()

    def new_actor(self) -> PublicationActor:
        ports = PublicationPorts(
            reader=self,
            sample=self,
            board=self,
            evidence=self,
            clock=self.time,
            metrics=self.metrics,
            sleep=self.time.sleep,
            uniform=lambda low, high: (low + high) / 2,
        )
        self.actor = PublicationActor("charging_station", ports)
        self.actor.start(lambda _, error, __: self.failures.append(error))
        return self.actor

    # ------------------------------------------------------------ RevocationReader, IssuedSample, ListBoard, EvidenceLog

    async def list_at(self, address: str, issuer_pem: str) -> RevocationList:
        assert issuer_pem == self.issuer_pem
        self.read.append((self.time.elapsed_s, address))
        if self.failure is not None:
            raise self.failure
        made = (self.list_of or self.time.now()) - self.lags.get(address, timedelta())
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=self.issuer.name,
            last_update=made,
            next_update=made + timedelta(days=1),
            revoked_certificates=[x509.RevokedCertificateBuilder(s, START).build() for s in self.revoked],
        ).add_extension(x509.CRLNumber(self.numbers.get(address, 9)), critical=False)
        encoded = builder.sign(self.issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return read_list(encoded, address, self.issuer.certificate, self.time.now())

    async def answer_at(self, address: str, issuer_pem: str, serial_number: str) -> RevocationAnswer:
        self.asked.append(serial_number)
        status = self.answers.get(serial_number, "Good")
        return RevocationAnswer(status, self.time.now(), None, START if status == "Revoked" else None)  # type: ignore[arg-type]

    async def newest_issued(self, purpose: str) -> list[tuple[str, str]]:
        if self.store_is_away:
            raise Unavailable("PostgreSQL", "away")
        return self.newest

    def note(self, authority_arn: str, seen: SeenList) -> None:
        self.noted[authority_arn] = seen

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        self.evidence.setdefault(evidence.evidence_id, evidence)
        if self.settles and isinstance(evidence.body, v.RevocationListed | v.RevocationUnlisted):
            self.actor.tell(Settled(f"{evidence.body.certificate_id}:published"))

    # ------------------------------------------------------------ what a test does and sees

    def want(self, name: str = "c", serial: int = 0xAB, **changes: object) -> WatchPublication:
        values: dict[str, object] = {
            "effect_id": f"{name}:published",
            "charger_id": "CP-1",
            "purpose": "charging_station",
            "certificate_id": name,
            "authority_arn": "arn",
            "issuer_pem": self.issuer_pem,
            "serial_number": f"{serial:x}",
            "crl_addresses": (ADDRESS,),
            "ocsp_addresses": (),
            "not_after": START + timedelta(days=90),
            **changes,
        }
        effect = WatchPublication(**values)  # type: ignore[arg-type]
        assert self.actor.tell(Wanted(effect))
        return effect

    def facts(self, kind: type) -> list[v.EvidenceBody]:
        return [each.body for each in self.evidence.values() if isinstance(each.body, kind)]


async def begun() -> World:
    world = World()
    await world.time.advance(31)
    return world


async def test_a_certificate_is_looked_for_soon_and_found_when_the_list_names_it() -> None:
    world = await begun()
    world.want()
    await world.time.advance(6)
    assert world.facts(v.RevocationListed) == []
    world.revoked = {0xAB}
    await world.time.advance(300)
    (listed,) = world.facts(v.RevocationListed)
    assert isinstance(listed, v.RevocationListed)
    assert (listed.source, listed.address, listed.list_number) == ("crl", ADDRESS, "9")
    assert listed.revoked_at == START
    (evidence,) = world.evidence.values()
    assert (evidence.charger_id, evidence.source) == ("CP-1", "ca:arn")


async def test_the_list_is_read_less_and_less_often_and_no_more_once_all_is_found() -> None:
    world = await begun()
    world.want()
    await world.time.advance(3600)
    moments = [at for at, _ in world.read]
    waits = [round(later - earlier) for earlier, later in itertools.pairwise(moments)]
    assert waits[:7] == [5, 10, 20, 40, 80, 160, 300]
    assert set(waits[7:]) == {300}
    world.revoked = {0xAB}
    await world.time.advance(301)
    count = len(world.read)
    await world.time.advance(3000)
    assert len(world.read) == count


async def test_many_that_are_wanted_are_looked_for_on_one_list_at_once() -> None:
    world = await begun()
    for number in range(50):
        world.want(f"c{number}", number + 1)
    world.revoked = set(range(1, 51))
    await world.time.advance(6)
    assert len(world.read) == 1
    assert len(world.facts(v.RevocationListed)) == 50


async def test_one_more_is_looked_for_within_a_minute_and_not_at_once_during_an_incident() -> None:
    world = await begun()
    world.want()
    await world.time.advance(2000)
    before = len(world.read)
    world.want("d", 0xAC)
    await world.time.advance(30)
    world.want("e", 0xAD)
    await world.time.advance(31)
    assert len(world.read) == before + 1


async def test_what_the_ledger_settles_is_not_looked_for_any_more() -> None:
    world = await begun()
    effect = world.want()
    await world.time.advance(6)
    world.actor.tell(Settled(effect.effect_id))
    count = len(world.read)
    await world.time.advance(3000)
    assert len(world.read) <= count + 1
    assert world.metrics.gauges["bf_revocations_unpublished", "charging_station"] == 0


async def test_said_once_until_the_ledger_has_heard() -> None:
    world = await begun()
    world.settles = False
    world.revoked = {0xAB}
    world.want()
    await world.time.advance(600)
    assert len(world.facts(v.RevocationListed)) == 1


@pytest.mark.parametrize(
    "failure", [NotFetched("timeout", "silent"), NotBelieved("forged"), Unavailable("egress", "x")]
)
async def test_a_list_that_cannot_be_had_is_looked_for_again(failure: Exception) -> None:
    world = await begun()
    world.revoked = {0xAB}
    world.failure = failure
    world.want()
    await world.time.advance(60)
    assert not world.evidence
    world.failure = None
    await world.time.advance(300)
    assert len(world.facts(v.RevocationListed)) == 1
    assert world.failures == []


async def test_the_responder_is_asked_where_no_list_says_so() -> None:
    world = await begun()
    world.want(ocsp_addresses=(RESPONDER,))
    await world.time.advance(6)
    assert (world.asked, world.facts(v.RevocationListed)) == (["ab"], [])
    world.answers["ab"] = "Revoked"
    await world.time.advance(60)
    (listed,) = world.facts(v.RevocationListed)
    assert isinstance(listed, v.RevocationListed)
    assert (listed.source, listed.address, listed.list_number) == ("ocsp", RESPONDER, None)


async def test_the_responder_is_not_asked_for_what_a_list_has_said() -> None:
    world = await begun()
    world.revoked = {0xAB}
    world.want(ocsp_addresses=(RESPONDER,))
    await world.time.advance(6)
    assert world.asked == []


async def test_responders_are_asked_about_few_at_a_time_and_everybody_has_a_turn() -> None:
    world = await begun()
    for number in range(450):
        world.want(f"c{number}", number + 1, crl_addresses=(), ocsp_addresses=(RESPONDER,))
    await world.time.advance(6)
    assert len(world.asked) == 200
    await world.time.advance(30)
    assert len(set(world.asked)) == 450


async def test_what_has_expired_without_being_named_is_given_up() -> None:
    world = await begun()
    world.want(not_after=world.time.now() - timedelta(hours=23))
    await world.time.advance(60)
    assert not world.evidence
    await world.time.advance(3700)
    (unlisted,) = world.facts(v.RevocationUnlisted)
    assert isinstance(unlisted, v.RevocationUnlisted)
    assert unlisted.code == "expired-unlisted"


async def test_while_nothing_is_wanted_the_ca_s_list_is_read_once_an_hour() -> None:
    world = World()
    named = leaf(x509.CRLDistributionPoints([point(ADDRESS)])) + world.issuer_pem
    world.newest = [("arn", named)]
    await world.time.advance(2 * 3600 + 60)
    assert [address for _, address in world.read] == [ADDRESS] * 3
    assert world.metrics.gauges["bf_revocation_list_age_seconds", "charging_station"] == 0


async def test_a_list_that_is_overdue_is_told_of_once() -> None:
    world = World()
    named = leaf(x509.CRLDistributionPoints([point(ADDRESS)])) + world.issuer_pem
    world.newest = [("arn", named)]
    world.list_of = world.time.now()
    await world.time.advance(20 * 3600)
    assert not world.evidence
    await world.time.advance(8 * 3600)
    (stale,) = world.facts(v.RevocationListStale)
    assert isinstance(stale, v.RevocationListStale)
    assert (stale.authority_arn, stale.next_update) == ("arn", world.list_of + timedelta(days=1))
    assert world.metrics.gauges["bf_revocation_list_fresh_seconds", "charging_station"] < 0
    (evidence,) = world.evidence.values()
    assert evidence.charger_id == ""


async def test_the_list_of_each_ca_is_read_and_noted_as_it_says_of_itself() -> None:
    world = World()
    other, partition = "http://crl.example/2.crl", "http://crl.example/3.crl"
    world.numbers = {ADDRESS: 17, other: 18, partition: 19}
    world.lags = {partition: timedelta(hours=3)}
    for arn, addresses in (("old", [ADDRESS]), ("new", [other, partition])):
        places = x509.CRLDistributionPoints([point(address) for address in addresses])
        world.newest.append((arn, leaf(places) + world.issuer_pem))
    await world.time.advance(31)
    assert {address for _, address in world.read} == {ADDRESS, other, partition}
    began = START + timedelta(seconds=30)
    assert world.noted["old"] == SeenList(
        number="11", this_update=began, next_update=began + timedelta(days=1), seen_at=began
    )
    made = began - timedelta(hours=3)
    assert world.noted["new"] == SeenList(
        number="13", this_update=made, next_update=made + timedelta(days=1), seen_at=began
    ), "of two partitions the one that is due first"
    assert world.metrics.gauges["bf_revocation_list_age_seconds", "charging_station"] == 3 * 3600


async def test_a_list_that_cannot_be_read_stays_noted_as_it_was() -> None:
    world = World()
    named = leaf(x509.CRLDistributionPoints([point(ADDRESS)])) + world.issuer_pem
    world.newest = [("arn", named)]
    await world.time.advance(31)
    before = world.noted["arn"]
    world.failure = NotFetched("timeout", "silent")
    await world.time.advance(3600)
    assert len(world.read) == 2
    assert world.noted == {"arn": before}


async def test_without_the_store_what_is_wanted_is_looked_for_all_the_same() -> None:
    world = await begun()
    world.store_is_away = True
    world.revoked = {0xAB}
    world.want()
    await world.time.advance(6)
    assert len(world.facts(v.RevocationListed)) == 1


async def test_a_drain_ends_the_looking() -> None:
    world = await begun()
    world.want()
    await settle()
    await world.actor.drain()
    count = len(world.read)
    await world.time.advance(600)
    assert len(world.read) == count
    assert world.failures == []


async def test_a_drain_ends_the_hour_without_anything_to_look_for() -> None:
    world = await begun()
    async with asyncio.timeout(PATIENCE_S):
        await world.actor.drain()
    assert world.failures == []
