"""What hangs on a CA, as the projections count and name it: this is what its retirement rests on."""

import json
from datetime import timedelta
from typing import Any

from bfactors.ledger_row import CertificateRow, EffectRow
from persistence.ledger_store import PostgresLedgerStore
from persistence.reader import LedgerReader
from tests.contract.test_reader import put, reader
from tests.fakes.ledger_row import DAWN, certificate, charger

pytest_plugins = ("tests.fakes.ledger_database",)
__all__ = ["reader"]

OLD, NEW = "arn:old", "arn:new"
NOW = DAWN + timedelta(days=10)


def hanging(name: str, state: str, *, arn: str = OLD, **fields: Any) -> CertificateRow:
    admit_until = fields.pop("admit_until", None)
    doc = json.dumps({"certificate_id": name, "admit_until": admit_until and admit_until.isoformat()})
    return certificate(name, charger_id="a", state=state, issuing_ca_id=arn, doc=doc.encode(), **fields)


def order(name: str, kind: str, arn: str = OLD) -> EffectRow:
    doc = json.dumps({"type": kind, "authority_arn": arn}).encode()
    return EffectRow(effect_id=name, purpose="charging_station", outstanding=True, doc=doc)


async def test_what_may_open_a_session_now_or_soon_is_counted_with_the_orders_that_are_out(
    reader: LedgerReader,
    postgres_ledger_store: PostgresLedgerStore,
) -> None:
    rows = [
        *(hanging(state, state) for state in ("issued", "installed", "active")),
        *(hanging(state, state) for state in ("expired", "revoked", "rejected", "inactive", "deleted")),
        hanging("in grace", "superseded", admit_until=NOW + timedelta(seconds=1)),
        hanging("grace over", "superseded", admit_until=NOW - timedelta(seconds=1)),
        hanging("no grace", "superseded"),
        hanging("ended", "active", not_after=NOW),
        hanging("other", "active", arn=NEW),
    ]
    effects = [
        order("issue", "IssueCertificate"),
        order("search", "ReconcileIssuance"),
        order("revoke", "RevokeCertificate"),
        order("elsewhere", "IssueCertificate", NEW),
    ]
    await put(postgres_ledger_store, chargers=[charger("a")], certificates=rows, effects=effects)
    load = await reader.authority_load([OLD, NEW, "arn:unknown"], NOW)
    counted = {row["authority_arn"]: (row["certificates"], row["orders"]) for row in load}
    assert counted == {OLD: (4, 2), NEW: (1, 1), "arn:unknown": (0, 0)}
    named = await reader.authority_holders(OLD, NOW)
    assert {row["certificate_id"] for row in named} == {"issued", "installed", "active", "in grace"}
    assert await reader.authority_holders(OLD, NOW, 2) == named[:2]


async def test_absent_chargers_are_named_first(
    reader: LedgerReader,
    postgres_ledger_store: PostgresLedgerStore,
) -> None:
    chargers = [charger("a", connected=True), charger("b")]
    rows = [
        certificate("one", charger_id="a", state="active", issuing_ca_id=OLD),
        certificate("two", charger_id="b", state="active", issuing_ca_id=OLD),
    ]
    await put(postgres_ledger_store, chargers=chargers, certificates=rows)
    found = await reader.authority_holders(OLD, NOW)
    assert [(row["charger_id"], row["connected"]) for row in found] == [("b", False), ("a", True)]


async def test_it_is_said_up_to_where_every_partition_but_the_fleet_s_has_heard(
    reader: LedgerReader,
    postgres_ledger_store: PostgresLedgerStore,
) -> None:
    async def heard() -> int:
        (row,) = await reader.authority_load([OLD], NOW)
        return int(row["heard_sequence"])

    for partition in range(1, 15):
        await put(postgres_ledger_store, partition, fleet_position=7)
    assert await heard() == 0  # one has heard nothing yet
    await put(postgres_ledger_store, 15, fleet_position=5)
    assert await heard() == 5
