"""What pseudonyms stand for: kept while somebody bears them, gone when erased, unwanted or retired long ago."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt, Overtaken
from bfactors.ledger_row import HolderRow
from bfactors.ports import LedgerStore, PersonalIdentifiers
from deploy.role.custody import SealingKeyFile
from persistence.ledger_store import PostgresLedgerStore
from persistence.personal_identifier import PostgresPersonalIdentifiers
from persistence.role import READER, WRITER
from tests.conftest import FreshDatabase
from tests.fakes import ledger_row
from tests.fakes.ledger_row import DAWN
from tests.fakes.ledger_store import FakeLedgerStore
from tests.fakes.personal_identifier import FakePersonalIdentifiers

pytest_plugins = ("tests.fakes.ledger_database",)

NAME, OTHER = f"vin:{'a' * 12}:{'1' * 64}", f"vin:{'a' * 12}:{'2' * 64}"
VALUE = Disclosed(b"WDB2030461A123456")
LONG = timedelta(minutes=5)
HOUR = timedelta(hours=1)


class Both:
    """The store of values and the ledger whose commits say who bears them."""

    def __init__(self, values: PersonalIdentifiers, ledger: LedgerStore) -> None:
        self.values = values
        self.ledger = ledger

    async def commit(self, **rows: Any) -> None:
        lease = await self.ledger.claim(3, "a", LONG)
        assert lease is not None
        await self.ledger.commit(lease, ledger_row.batch(lease, 0, **rows), LONG)

    async def bear(self, name: str, identity: str = "i-1", **fields: Any) -> None:
        values = {"held": True, "kept": True, "since": DAWN} | fields
        await self.commit(identity_holders=[HolderRow(external_id=name, identity_id=identity, **values)])


@pytest.fixture(params=["fake", "postgres"])
def real(request: pytest.FixtureRequest) -> tuple[PostgresLedgerStore, FreshDatabase] | None:
    if request.param == "fake":
        return None
    return request.getfixturevalue("postgres_ledger_store"), request.getfixturevalue(
        "emptied_ledger_database"
    )


@pytest.fixture
async def both(real: tuple[PostgresLedgerStore, FreshDatabase] | None, tmp_path: Path) -> AsyncIterator[Both]:
    if real is None:
        ledger = FakeLedgerStore()
        yield Both(FakePersonalIdentifiers(ledger), ledger)
        return
    store, database = real
    SealingKeyFile.make(tmp_path / "key")
    values = await PostgresPersonalIdentifiers.reach(
        database.dsn(WRITER), SealingKeyFile.load(tmp_path / "key")
    )
    yield Both(values, store)
    await values.close()


async def test_a_value_is_opened_as_it_was_put_and_what_is_not_there_is_left_out(both: Both) -> None:
    await both.values.put(NAME, "vin", VALUE, DAWN)
    assert await both.values.open([NAME, OTHER]) == {NAME: VALUE}
    assert await both.values.open([]) == {}


async def test_putting_again_changes_nothing_but_when_it_was_used(both: Both) -> None:
    await both.values.put(NAME, "vin", VALUE, DAWN)
    await both.values.put(NAME, "vin", Disclosed(b"another"), DAWN + HOUR)
    await both.values.put(NAME, "vin", VALUE, DAWN)
    assert await both.values.open([NAME]) == {NAME: VALUE}
    assert await both.values.sweep_unwanted(DAWN + HOUR, 10) == 0
    assert await both.values.sweep_unwanted(DAWN + 2 * HOUR, 10) == 1


async def test_many_that_put_one_value_at_once_all_succeed(both: Both) -> None:
    await asyncio.gather(*(both.values.put(NAME, "vin", VALUE, DAWN) for _ in range(8)))
    assert await both.values.open([NAME]) == {NAME: VALUE}


async def test_the_commit_that_erases_a_value_deletes_it(both: Both) -> None:
    for name in (NAME, OTHER):
        await both.values.put(name, "vin", VALUE, DAWN)
    await both.commit(erased_identifiers=[NAME, NAME])
    assert await both.values.open([NAME, OTHER]) == {OTHER: VALUE}
    await both.commit(erased_identifiers=[NAME])  # once more: nothing


async def test_what_nobody_bears_is_swept_once_it_is_old(both: Both) -> None:
    for name in (NAME, OTHER):
        await both.values.put(name, "vin", VALUE, DAWN)
    await both.bear(OTHER)
    assert await both.values.sweep_unwanted(DAWN, 10) == 0
    assert await both.values.sweep_unwanted(DAWN + HOUR, 10) == 1
    assert set(await both.values.open([NAME, OTHER])) == {OTHER}


async def test_what_was_erased_and_is_put_again_by_a_refused_command_is_swept(both: Both) -> None:
    await both.bear(NAME, kept=False)
    await both.values.put(NAME, "vin", VALUE, DAWN)
    assert await both.values.sweep_unwanted(DAWN + HOUR, 10) == 1


async def test_what_a_retired_identity_bore_goes_when_its_time_has_come(both: Both) -> None:
    await both.values.put(NAME, "vin", VALUE, DAWN)
    await both.bear(NAME, since=DAWN)
    assert await both.values.sweep_retired(DAWN + HOUR, 10) == 0
    await both.bear(NAME, held=False, since=DAWN + HOUR)
    assert await both.values.sweep_retired(DAWN + HOUR, 10) == 0
    assert await both.values.sweep_unwanted(DAWN + 9 * HOUR, 10) == 0
    assert await both.values.sweep_retired(DAWN + 2 * HOUR, 10) == 1


async def test_whoever_bears_it_next_keeps_it(both: Both) -> None:
    await both.values.put(NAME, "vin", VALUE, DAWN)
    await both.bear(NAME, held=False)
    await both.bear(NAME, "i-2")
    assert await both.values.sweep_retired(DAWN + HOUR, 10) == 0


async def test_a_sweep_goes_no_further_than_told(both: Both) -> None:
    for number in range(5):
        await both.values.put(f"{NAME[:-1]}{number}", "vin", VALUE, DAWN)
        await both.bear(f"{OTHER[:-1]}{number}", f"i-{number}", held=False)
        await both.values.put(f"{OTHER[:-1]}{number}", "vin", VALUE, DAWN)
    for sweep in (both.values.sweep_unwanted, both.values.sweep_retired):
        assert [await sweep(DAWN + HOUR, 3) for _ in range(3)] == [3, 2, 0]


async def test_one_commit_can_pass_a_name_on_and_two_identities_cannot_hold_it(both: Both) -> None:
    await both.bear(NAME)
    taken = [
        HolderRow(external_id=NAME, identity_id="i-0", held=True, kept=True, since=DAWN),
        HolderRow(external_id=NAME, identity_id="i-1", held=False, kept=True, since=DAWN),
    ]
    await both.commit(identity_holders=taken)
    assert await both.ledger.identity_holders([NAME, OTHER]) == {NAME: "i-0"}
    with pytest.raises(Overtaken):
        await both.bear(NAME, "i-3")
    assert await both.ledger.identity_holders([NAME]) == {NAME: "i-0"}


# ---------------------------------------------------------------- PostgreSQL alone


@pytest.fixture
async def superuser(emptied_ledger_database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    "change",
    ["kind = 'pcid'", f"pseudonym = '{OTHER}'", "sealed = set_byte(sealed, 0, get_byte(sealed, 0) # 1)"],
)
async def test_a_changed_row_does_not_open(
    superuser: asyncpg.Connection, emptied_ledger_database: FreshDatabase, tmp_path: Path, change: str
) -> None:
    SealingKeyFile.make(tmp_path / "key")
    values = await PostgresPersonalIdentifiers.reach(
        emptied_ledger_database.dsn(WRITER), SealingKeyFile.load(tmp_path / "key")
    )
    await values.put(NAME, "vin", VALUE, DAWN)
    assert VALUE.value not in await superuser.fetchval("SELECT sealed FROM personal_identifier")
    assert await superuser.execute(f"UPDATE personal_identifier SET {change}") == "UPDATE 1"
    with pytest.raises(LedgerCorrupt):
        await values.open([NAME, OTHER])
    await values.close()


async def test_of_the_identity_tables_the_writer_can_delete_from_one_and_the_reader_sees_nothing_of_it(
    superuser: asyncpg.Connection, emptied_ledger_database: FreshDatabase
) -> None:
    rows = await superuser.fetch(
        "SELECT table_name AS name, grantee, string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights"
        " FROM information_schema.role_table_grants"
        " WHERE table_name IN ('identity', 'identity_holder', 'personal_identifier') AND grantee = ANY ($1::text[])"
        " GROUP BY 1, 2",
        [WRITER, READER],
    )
    assert {(row["name"], row["grantee"]): row["rights"] for row in rows} == {
        ("identity", WRITER): "INSERT SELECT UPDATE",
        ("identity_holder", WRITER): "INSERT SELECT UPDATE",
        ("personal_identifier", WRITER): "DELETE INSERT SELECT",
        ("identity", READER): "SELECT",
        ("identity_holder", READER): "SELECT",
    }
