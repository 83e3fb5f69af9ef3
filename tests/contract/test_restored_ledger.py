"""A database restored from an hour ago, on a real PostgreSQL: the CA's list explains what it no longer knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from actors.issuance import IssuanceActor, IssuancePorts, Settled, Wanted
from actors.issuance.attempt import order_of
from actors.reconciliation import ReconciliationActor, ReconciliationPorts
from bfactors import evidence as v
from bfactors.command import CommandEnvelope, RegisterAuthority, RequestReconciliation
from bfactors.effect import Effect
from bfactors.evidence import Evidence, FleetFactsChanged
from bfactors.fleet.state import FleetState
from bfactors.identity import FLEET, partition_of
from bfactors.ledger_fold import FLEET_KEY
from bfactors.x509 import parse_certificate
from persistence.certificate_index import PostgresCertificateIndex
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.core import pki
from tests.core.world import ARN, World, evidence
from tests.fakes.ca import CountedMetrics, FakeCa, ManualTime
from tests.integration.admin_world import LedgerDoor

pytest_plugins = ("tests.fakes.ledger_database",)

_EFFECT = msgspec.json.Decoder(Effect)
HOUR_S = 3600.0


class Site:
    """A ledger on one database, and the actors a core would run over it."""

    def __init__(self, database: FreshDatabase, store: PostgresLedgerStore, time: ManualTime, ca: FakeCa):
        self.time, self.ca = time, ca
        self.store: Any = store
        self.door = LedgerDoor(self.store, time)  # type: ignore[arg-type]
        self.database = database
        self.known: dict[str, Effect] = {}
        self.actors: list[IssuanceActor | ReconciliationActor] = []
        self.failures: list[BaseException] = []

    async def append(self, evidence: Evidence, partition: int | None = None) -> None:
        await self.door.tell(partition_of(evidence.charger_id) if evidence.charger_id else FLEET, evidence)
        await self.tell_changes()

    async def tell_changes(self) -> None:
        rows = [row for number in range(16) for row in await self.store.outstanding_effects(number)]
        now = {row.effect_id: _EFFECT.decode(row.doc) for row in rows}
        for actor in self.actors:
            for effect_id in self.known.keys() - now.keys():
                actor.tell(Settled(effect_id))
            for effect_id, effect in now.items():
                if self.known.get(effect_id) != effect:
                    actor.tell(Wanted(effect))
        self.known = now

    async def start(self, index: PostgresCertificateIndex) -> None:
        shared: dict[str, Any] = {
            "authority": self.ca,
            "evidence": self,
            "clock": self.time,
            "metrics": CountedMetrics(),
            "sleep": self.time.sleep,
            "uniform": lambda low, high: (low + high) / 2,
        }
        issuing = IssuancePorts(revoker=self.ca, **shared)
        comparing = ReconciliationPorts(auditor=self.ca, index=index, commands=self.door, **shared)
        self.actors = [
            IssuanceActor("charging_station", issuing),
            ReconciliationActor("charging_station", comparing),
        ]
        for actor in self.actors:
            actor.start(lambda _, error, __: self.failures.append(error))
        await self.tell_changes()

    async def fleet(self) -> FleetState:
        row = (await self.store.load(FLEET, [FLEET_KEY]))[FLEET_KEY]
        return msgspec.json.decode(row.state, type=FleetState)


@pytest.fixture
async def before(ledger_database: FreshDatabase) -> AsyncIterator[Site]:
    store = await PostgresLedgerStore.open(ledger_database.dsn(WRITER), size=2)
    time = ManualTime(pki.BEGIN + timedelta(days=10))
    site = Site(ledger_database, store, time, FakeCa(time))
    command = RegisterAuthority(
        purpose="charging_station",
        authority_arn=ARN,
        certificate_pem=pki.ca().pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
    )
    envelope = CommandEnvelope(command_id="a", actor="system:start", role="system", body=command)
    assert (await site.door.request(FLEET, envelope)).refusal is None
    yield site
    await store.close()


def on_the_way(charger_id: str, time: ManualTime) -> World:
    """A charger whose CSR is checked and whose order is recorded."""
    world = World(charger_id=charger_id, managed_identity_id=f"unit-{charger_id}", serial_number=charger_id)
    world.now = time.now()
    world.request(job_id=f"job-{charger_id}")
    world.connect()
    world.confirm_trust()
    world.carry_out()
    world.present_csr(pki.csr(charger_id))
    return world


async def signed(site: Site, world: World, *, recorded: bool) -> str:
    """The CA signs the order; its answer reaches the ledger or is lost."""
    effect = world.issue_effect()
    external_ref = await site.ca.issue(order_of(effect, site.time.now()))
    if recorded:
        chain = await site.ca.fetch(ARN, external_ref)
        about = {"job_id": effect.job_id, "attempt": 1, "external_ref": external_ref}
        world.tell(v.IssuanceRequested(**about))  # type: ignore[arg-type]
        world.tell(v.IssuanceCompleted(**about, chain_pem=chain.leaf_pem))  # type: ignore[arg-type]
    return external_ref


async def until(site: Site, run_id: str) -> FleetState:
    for _ in range(800):
        await site.time.advance(5)
        fleet = await site.fleet()
        known = next(iter(fleet.reconciliations.values()), None)
        if known is not None and known.run_id == run_id and len(site.known) == 0:
            return fleet
    raise AssertionError(f"{run_id} has not ended; owed: {sorted(site.known)}; {site.failures}")


async def test_a_database_of_an_hour_ago_is_explained_by_the_ca(before: Site) -> None:
    early, late = on_the_way("EARLY", before.time), on_the_way("LATE", before.time)
    known_ref = await signed(before, early, recorded=True)
    for world in (early, late):
        await before.door.adopt(world)
    await before.time.advance(60)
    late_ref = await signed(before, late, recorded=True)
    snapshot = f"{before.database.name}_snapshot"
    administrator = await asyncpg.connect(before.database.server.dsn())
    await before.store.close()  # a copy is made of a database that nobody uses
    await administrator.execute(f"CREATE DATABASE {snapshot} TEMPLATE {before.database.name}")
    # The lost hour: the answer for LATE, and everything about NEW.
    new = on_the_way("NEW", before.time)
    new_ref = await signed(before, new, recorded=True)
    await before.time.advance(HOUR_S)

    restored = FreshDatabase(snapshot, before.database.server)
    store = await PostgresLedgerStore.open(restored.dsn(WRITER), size=2)
    index = await PostgresCertificateIndex.reach(restored.dsn(READER))
    try:
        site = Site(restored, store, before.time, before.ca)
        facts = FleetFactsChanged(facts=msgspec.structs.replace(late.facts, sequence=99))
        for charger_id in ("EARLY", "LATE"):
            await site.door.tell(partition_of(charger_id), evidence("", facts, site.time.now()))
        await site.start(index)
        run = RequestReconciliation(purpose="charging_station", run_id="restored", reason="restored")
        envelope = CommandEnvelope(command_id="r", actor="operator:a", role="pki-admin", body=run)
        assert (await site.door.request(FLEET, envelope)).refusal is None
        await site.tell_changes()
        fleet = await until(site, "restored")
        assert site.failures == []
        known = next(iter(fleet.reconciliations.values()))
        in_ledger = {row.external_ref for row in await index.of_purpose("charging_station", None, 99)}
        in_fleet = {item.external_ref for item in known.items if item.charger_id is None}
        assert in_ledger == {known_ref, late_ref}, "the answer that was lost has been found again"
        assert in_fleet == {new_ref}, "a charger that the ledger never heard of accounts for nothing"
        assert set(site.ca.made) == in_ledger | in_fleet
        assert len(site.ca.orders) == 3, "nothing was signed twice"
        assert known.unexplained[_serial(site.ca, new_ref)].revocation_requested_at is None
    finally:
        await store.close()
        await index.close()
        await administrator.execute(f"DROP DATABASE {snapshot} WITH (FORCE)")
        await administrator.close()


def _serial(ca: FakeCa, external_ref: str) -> str:
    return parse_certificate(ca.made[external_ref].chain.leaf_pem).serial_number
