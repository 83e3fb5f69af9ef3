"""The actor that looks up others' leaves ahead of their handshakes; lists in memory, time by hand."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from actors.issuance.message import Wanted
from actors.publication import ForeignActor, ForeignPorts
from bfactors import evidence as v
from bfactors.effect import CheckForeign
from bfactors.errors import NotFetched
from tests.actors.test_publication import ADDRESS, RESPONDER, World
from tests.patience import PATIENCE_S


class Strangers(World):
    """The same lists, and an actor of the other kind."""

    def __init__(self) -> None:
        super().__init__()
        self.has_issuer = True
        ports = ForeignPorts(reader=self, evidence=self, clock=self.time, sleep=self.time.sleep)
        self.foreign = ForeignActor("charging_station", ports)
        self.foreign.start(lambda _, error, __: self.failures.append(error))

    async def issuer_of(self, chain_pem: str) -> str | None:
        return self.issuer_pem if self.has_issuer else None

    async def append(self, evidence: v.Evidence, partition: int | None = None) -> None:
        """As the ledger: what it is told it remembers, and says so."""
        self.evidence.setdefault(evidence.evidence_id, evidence)
        body = evidence.body
        assert isinstance(body, v.ForeignRevocationSeen)
        self.effect = msgspec.structs.replace(
            self.effect, known_status=body.status, good_until=body.good_until
        )
        assert self.foreign.tell(Wanted(self.effect))

    def check(self, **changes: object) -> None:
        values: dict[str, object] = {
            "effect_id": "c:foreign",
            "charger_id": "CP-1",
            "purpose": "charging_station",
            "certificate_id": "c",
            "authority_arn": "CN=somebody",
            "chain_pem": "pem",
            "serial_number": "ab",
            "crl_addresses": (ADDRESS,),
            "ocsp_addresses": (),
            "known_status": "unchecked",
            **changes,
        }
        self.effect = CheckForeign(**values)  # type: ignore[arg-type]
        assert self.foreign.tell(Wanted(self.effect))

    @property
    def said(self) -> list[tuple[str, str | None]]:
        bodies = [each.body for each in self.evidence.values()]
        return [(body.status, body.source) for body in bodies if isinstance(body, v.ForeignRevocationSeen)]


async def test_a_leaf_is_found_good_once_and_revoked_within_the_hour() -> None:
    world = Strangers()
    world.check()
    await world.time.advance(5 * 3600)
    assert world.said == [("good", "crl")]
    world.revoked = {0xAB}
    await world.time.advance(3600)
    assert world.said == [("good", "crl"), ("revoked", "crl")]


async def test_the_responder_is_asked_where_the_list_cannot_be_had() -> None:
    world = Strangers()
    world.failure = NotFetched("timeout", "silent")
    world.check(ocsp_addresses=(RESPONDER,))
    await world.time.advance(10)
    assert world.said == [("good", "ocsp")]


async def test_what_is_not_known_is_said_with_its_reason() -> None:
    world = Strangers()
    world.has_issuer = False
    world.check()
    await world.time.advance(10)
    (evidence,) = world.evidence.values()
    assert isinstance(evidence.body, v.ForeignRevocationSeen)
    assert (evidence.body.status, evidence.body.code) == ("unknown", "issuer-unknown")
    world.has_issuer = True
    await world.time.advance(301)
    assert [status for status, _ in world.said] == ["unknown", "good"]


async def test_what_stood_as_good_does_so_until_its_lists_next_date() -> None:
    world = Strangers()
    world.check()
    await world.time.advance(10)
    world.failure = NotFetched("unreachable", "away")
    await world.time.advance(timedelta(hours=23).total_seconds())
    assert [status for status, _ in world.said] == ["good"]
    await world.time.advance(timedelta(hours=2).total_seconds())
    assert [status for status, _ in world.said] == ["good", "unknown"]


async def test_a_stale_list_proves_what_it_lists_and_not_what_it_lacks() -> None:
    world = Strangers()
    world.list_of = world.time.now() - timedelta(days=3)
    world.check()
    await world.time.advance(10)
    assert world.said == [("unknown", None)]
    world.revoked = {0xAB}
    await world.time.advance(301)
    assert world.said[-1] == ("revoked", "crl")


async def test_a_drain_ends_it() -> None:
    world = Strangers()
    world.check()
    await world.time.advance(5)
    async with asyncio.timeout(PATIENCE_S):
        await world.foreign.drain()
    assert world.failures == []
