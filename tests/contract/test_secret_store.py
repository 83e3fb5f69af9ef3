"""Sealed secrets on a real database: opened only whole, only under their key, only by the writer."""

import asyncio
import base64
import logging
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from bfactors.disclosed import Disclosed
from bfactors.errors import LedgerCorrupt, SettingsError, Unavailable
from bfactors.ports import KeyCustody, SecretStore
from bfactors.secret import OpenedSecret, SealingKey, SecretName
from deploy.embedded import DataDirectory
from deploy.role.custody import SealingKeyFile
from deploy.role.lane_secret import LaneSecrets
from persistence.ledger_store import PostgresLedgerStore
from persistence.role import READER, WRITER
from persistence.secret import PostgresSecretStore
from tests.conftest import FreshDatabase
from tests.fakes import ledger_row

pytest_plugins = ("tests.fakes.ledger_database",)

KEY = Disclosed(b"8f3a1cd95b6e02f7c4a19d37e8506b2c")
LATER = datetime.now(UTC) + timedelta(hours=1)
EARLIER = datetime.now(UTC) - timedelta(seconds=1)


def named(secret_id: str = "s1", charger_id: str = "depot-7|bay,1", generation: int = 2) -> SecretName:
    return SecretName(
        secret_id=secret_id, purpose="authorization-key", charger_id=charger_id, generation=generation
    )


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "sealing.key"
    SealingKeyFile.make(path)
    return path


@pytest.fixture
async def store(emptied_ledger_database: FreshDatabase, key_file: Path) -> AsyncIterator[PostgresSecretStore]:
    reached = await PostgresSecretStore.reach(
        emptied_ledger_database.dsn(WRITER), SealingKeyFile.load(key_file)
    )
    yield reached
    await reached.close()


@pytest.fixture
async def superuser(emptied_ledger_database: FreshDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    yield connection
    await connection.close()


async def with_keys(database: FreshDatabase, custody: KeyCustody) -> PostgresSecretStore:
    return await PostgresSecretStore.reach(database.dsn(WRITER), custody, size=1)


# ---------------------------------------------------------------- put, open, delete


async def test_a_secret_is_opened_as_it_was_put_until_it_is_deleted(store: PostgresSecretStore) -> None:
    port: SecretStore = store
    assert await port.put(named(), KEY, None)
    for _ in range(2):
        opened = await port.open("s1")
        assert opened is not None
        assert (opened.name, opened.disclosed) == (named(), KEY)
    assert await port.delete("s1")
    assert not await port.delete("s1")
    assert await port.open("s1") is None


async def test_a_secret_put_again_stays_the_first_one(store: PostgresSecretStore) -> None:
    assert await store.put(named(), KEY, LATER)
    assert not await store.put(named(charger_id="other"), Disclosed(b"another"), None)
    opened = await store.open("s1")
    assert opened is not None
    assert (opened.name, opened.disclosed) == (named(), KEY)


async def test_of_many_that_put_one_secret_at_once_one_wins(store: PostgresSecretStore) -> None:
    puts = [store.put(named(), Disclosed(bytes([number])), LATER) for number in range(8)]
    assert sorted(await asyncio.gather(*puts)) == [False] * 7 + [True]


async def test_a_secret_past_its_time_is_gone_before_it_is_swept(store: PostgresSecretStore) -> None:
    await store.put(named("old"), KEY, EARLIER)
    await store.put(named("new"), KEY, LATER)
    await store.put(named("kept"), KEY, None)
    assert await store.open("old") is None
    assert not await store.reseal("old", None)
    assert await store.expire() == 1
    assert await store.expire() == 0
    assert await store.open("new") is not None
    assert await store.open("kept") is not None


async def test_the_id_of_a_secret_past_its_time_is_free(store: PostgresSecretStore) -> None:
    await store.put(named(), KEY, EARLIER)
    assert await store.put(named(generation=3), Disclosed(b"second"), LATER)
    opened = await store.open("s1")
    assert opened is not None
    assert (opened.name.generation, opened.disclosed.value) == (3, b"second")


async def test_a_key_is_swept_when_the_job_that_brings_it_has_ended(
    store: PostgresSecretStore, postgres_ledger_store: PostgresLedgerStore
) -> None:
    for job_id in ("open-1", "done-1", "other"):
        await store.put(named(job_id), KEY, None)
    await store.put(SecretName(secret_id="done-2", purpose="log-upload", charger_id="c"), KEY, None)
    jobs = [ledger_row.job("open-1"), *(ledger_row.job(f"done-{n}", state="failed") for n in (1, 2))]
    lease = await postgres_ledger_store.claim(3, "a", timedelta(minutes=5))
    assert lease is not None
    await postgres_ledger_store.commit(lease, ledger_row.batch(lease, 0, jobs=jobs), timedelta(minutes=5))
    assert await store.expire() == 1
    assert await store.open("done-1") is None
    for kept in ("open-1", "other", "done-2"):
        assert await store.open(kept) is not None


async def test_resealing_changes_the_expiry_and_nothing_else(
    store: PostgresSecretStore, superuser: asyncpg.Connection
) -> None:
    await store.put(named(), KEY, LATER)
    before = await superuser.fetchrow("SELECT * FROM secret")
    assert await store.reseal("s1", None)
    after = await superuser.fetchrow("SELECT * FROM secret")
    assert (before["expires_at"], after["expires_at"]) == (LATER, None)
    assert before["nonce"] != after["nonce"]
    opened = await store.open("s1")
    assert opened is not None
    assert (opened.name, opened.disclosed) == (named(), KEY)
    assert not await store.reseal("unknown", None)


async def test_one_secret_sealed_twice_looks_different(
    store: PostgresSecretStore, superuser: asyncpg.Connection
) -> None:
    for number in range(20):
        await store.put(named(f"s{number}"), KEY, None)
    rows = await superuser.fetch("SELECT nonce, sealed FROM secret")
    assert len({row["nonce"] for row in rows}) == len({row["sealed"] for row in rows}) == 20


async def test_other_lanes_use_the_store_over_the_io_lane(store: PostgresSecretStore) -> None:
    secrets: SecretStore = LaneSecrets(store, asyncio.get_running_loop())

    async def elsewhere() -> list[object]:
        return [
            await secrets.put(named(), KEY, EARLIER),
            await secrets.expire(),
            await secrets.put(named(), KEY, LATER),
            await secrets.reseal("s1", None),
            await secrets.open("s1"),
            await secrets.delete("s1"),
            await secrets.open("s1"),
        ]

    done = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert done == [True, 1, True, True, OpenedSecret(named(), KEY), True, None]


# ---------------------------------------------------------------- tampering


@pytest.mark.parametrize(
    "change",
    [
        "sealed = set_byte(sealed, 0, get_byte(sealed, 0) # 1)",
        "sealed = set_byte(sealed, length(sealed) - 1, get_byte(sealed, length(sealed) - 1) # 1)",
        "sealed = substring(sealed from 1 for 16)",
        "nonce = set_byte(nonce, 0, get_byte(nonce, 0) # 1)",
        "purpose = 'webhook'",
        "charger_id = 'depot-7'",
        "charger_id = '', purpose = 'authorization-key\",\"depot-7|bay,1'",
        "generation = 3",
        "secret_id = 's2'",
    ],
)
async def test_a_changed_row_does_not_open(
    store: PostgresSecretStore, superuser: asyncpg.Connection, change: str
) -> None:
    await store.put(named(), KEY, None)
    assert await superuser.execute(f"UPDATE secret SET {change}") == "UPDATE 1"
    row = await superuser.fetchrow("SELECT secret_id FROM secret")
    for asking in (store.open(row["secret_id"]), store.reseal(row["secret_id"], None)):
        with pytest.raises(LedgerCorrupt):
            await asking
    assert await superuser.fetchval("SELECT count(*) FROM secret") == 1


async def test_one_chargers_seal_does_not_open_as_anothers(
    store: PostgresSecretStore, superuser: asyncpg.Connection
) -> None:
    await store.put(named("a", "charger-a"), KEY, None)
    await store.put(named("b", "charger-b"), Disclosed(b"another"), None)
    await superuser.execute(
        "UPDATE secret b SET nonce = a.nonce, sealed = a.sealed FROM secret a"
        " WHERE a.secret_id = 'a' AND b.secret_id = 'b'"
    )
    with pytest.raises(LedgerCorrupt):
        await store.open("b")


# ---------------------------------------------------------------- sealing keys


def append_key(path: Path) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(os.urandom(32).hex() + "\n")


def moved(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


async def test_the_newest_key_seals_and_every_key_opens(
    store: PostgresSecretStore, emptied_ledger_database: FreshDatabase, key_file: Path
) -> None:
    await store.put(named("old"), KEY, None)
    append_key(key_file)
    renewed = await with_keys(emptied_ledger_database, SealingKeyFile.load(key_file))
    await renewed.put(named("new"), KEY, None)
    old, new = await SealingKeyFile.load(key_file).sealing_key(), await renewed.open("old")
    assert new is not None
    assert await renewed.open("new") is not None
    assert (
        await store.open("new") is not None
    )  # a core that was not started anew finds the line that was appended
    await store.put(named("third"), KEY, None)  # and goes on sealing with the key it knew
    connection = await asyncpg.connect(emptied_ledger_database.dsn())
    used = {row["secret_id"]: row["key_id"] for row in await connection.fetch("SELECT * FROM secret")}
    assert used["old"] == used["third"] != used["new"] == old.key_id
    assert await renewed.reseal("old", None)
    assert await connection.fetchval("SELECT key_id FROM secret WHERE secret_id = 'old'") == used["new"]
    await connection.close()
    await renewed.close()


async def test_a_secret_whose_key_is_not_at_hand_is_unavailable_not_gone(
    store: PostgresSecretStore, emptied_ledger_database: FreshDatabase, key_file: Path
) -> None:
    await store.put(named(), KEY, None)
    kept = moved(key_file, "kept.key")
    SealingKeyFile.make(key_file)
    other = await with_keys(emptied_ledger_database, SealingKeyFile.load(key_file))
    with pytest.raises(Unavailable, match="sealing key"):
        await other.open("s1")
    moved(key_file, "other.key")
    with pytest.raises(Unavailable, match="sealing key"):
        await other.open("s1")
    moved(kept, key_file.name)
    assert await other.open("s1") is not None
    await other.close()


class WrappingCustody:
    """A key management service: every seal has a data key of its own, kept beside it in wrapped form."""

    def __init__(self) -> None:
        self.unwrapped: list[bytes] = []
        self._keys: dict[bytes, bytes] = {}

    async def sealing_key(self) -> SealingKey:
        wrapped = f"wrapped {len(self._keys)}".encode()
        self._keys[wrapped] = os.urandom(32)
        return SealingKey("arn:kms", self._keys[wrapped], wrapped)

    async def opening_key(self, key_id: str, wrapped: bytes) -> SealingKey:
        assert key_id == "arn:kms"
        self.unwrapped.append(wrapped)
        return SealingKey(key_id, self._keys[wrapped], wrapped)


async def test_a_data_key_comes_back_with_what_it_sealed(emptied_ledger_database: FreshDatabase) -> None:
    custody = WrappingCustody()
    store = await with_keys(emptied_ledger_database, custody)
    for secret_id in ("a", "b"):
        await store.put(named(secret_id), KEY, None)
    for secret_id in ("b", "a"):
        assert await store.open(secret_id) is not None
    assert custody.unwrapped == [b"wrapped 1", b"wrapped 0"]
    await store.close()


def test_a_sealing_key_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "sealing.key"
    SealingKeyFile.make(path)
    made = path.read_text()
    SealingKeyFile.make(path)
    assert path.read_text() == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(made.strip())) == 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620])
def test_a_sealing_key_file_that_others_may_open_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode {mode:04o}"):
        SealingKeyFile.load(key_file)


@pytest.mark.parametrize("content", ["", "\n", "abcd", "zz" * 32, "ab" * 31, "ab" * 32 + "\nab", "é" * 64])
def test_a_malformed_sealing_key_file_is_refused_without_showing_it(key_file: Path, content: str) -> None:
    key_file.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match="sealing key file") as refused:
        SealingKeyFile.load(key_file)
    assert refused.value.__cause__ is None
    for line in content.split():
        assert line not in str(refused.value)


def test_a_missing_sealing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.key cannot be read"):
        SealingKeyFile.load(tmp_path / "absent.key")


# ---------------------------------------------------------------- rights


async def test_the_writer_puts_reads_and_deletes_secrets_but_never_changes_one(
    store: PostgresSecretStore, emptied_ledger_database: FreshDatabase
) -> None:
    await store.put(named(), KEY, None)
    connection = await asyncpg.connect(emptied_ledger_database.dsn(WRITER))
    try:
        for statement in (
            "UPDATE secret SET expires_at = NULL",
            "UPDATE secret SET charger_id = 'x'",
            "SELECT * FROM secret FOR UPDATE",
            "TRUNCATE secret",
            "ALTER TABLE secret ADD COLUMN mine text",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        granted = await connection.fetchval(
            "SELECT string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM information_schema.role_table_grants"
            " WHERE table_name = 'secret' AND grantee = $1",
            WRITER,
        )
        assert granted == "DELETE INSERT SELECT"
    finally:
        await connection.close()


async def test_the_reader_has_no_right_at_all_on_secrets(emptied_ledger_database: FreshDatabase) -> None:
    connection = await asyncpg.connect(emptied_ledger_database.dsn(READER))
    try:
        await connection.execute("SET default_transaction_read_only = off")
        for statement in (
            "SELECT secret_id FROM secret",
            "SELECT count(*) FROM secret",
            "INSERT INTO secret DEFAULT VALUES",
            "UPDATE secret SET purpose = ''",
            "DELETE FROM secret",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        rights = await connection.fetchrow(
            "SELECT "
            + ", ".join(
                f"has_any_column_privilege($1, 'secret', '{right}')"
                for right in ("SELECT", "INSERT", "UPDATE", "REFERENCES")
            ),
            READER,
        )
        assert not any(rights)
    finally:
        await connection.close()


# ---------------------------------------------------------------- nowhere in clear


@pytest.fixture
async def logged_database(
    emptied_ledger_database: FreshDatabase, superuser: asyncpg.Connection
) -> AsyncIterator[FreshDatabase]:
    """Whose server writes down every statement with its arguments."""
    name = emptied_ledger_database.name
    await superuser.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    yield emptied_ledger_database
    await superuser.execute(f"ALTER DATABASE {name} RESET log_statement")


async def test_no_table_and_no_log_holds_a_secret_or_a_sealing_key_in_clear(
    logged_database: FreshDatabase,
    superuser: asyncpg.Connection,
    server_data: DataDirectory,
    key_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    custody = SealingKeyFile.load(key_file)
    store = await with_keys(logged_database, custody)
    for secret_id in ("s1", "s1", "s2"):
        await store.put(named(secret_id), KEY, None)
    await store.reseal("s1", LATER)
    await store.open("s1")
    await store.delete("s2")
    await store.close()
    tables = await superuser.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    dumped = ""
    for table in tables:
        rows = await superuser.fetch(f"SELECT t::text AS line FROM {table['tablename']} t")
        dumped += "".join(row["line"] for row in rows)
    server_log = text_of(server_data.log_file("postgres"))
    assert "depot-7|bay,1" in dumped
    assert "depot-7|bay,1" in server_log
    octets = bytes.fromhex(KEY.value.decode())
    sealing_key = (await custody.sealing_key()).key
    for secret in (KEY.value, octets, sealing_key):
        for form in every_form(secret):
            assert not any(form in place for place in (dumped, server_log, caplog.text))


def every_form(secret: bytes) -> list[str]:
    """How bytes could stand in a text."""
    return [secret.decode("latin-1"), secret.hex(), base64.b64encode(secret).decode()]


def text_of(path: Path) -> str:
    return path.read_text(errors="replace")


async def test_what_is_opened_prints_as_nothing(store: PostgresSecretStore) -> None:
    await store.put(named(), KEY, None)
    opened = await store.open("s1")
    shown = f"{opened} {opened!r} {KEY} {SealingKey('k', b'0' * 32)}"
    assert KEY.value.decode() not in shown
    assert "0000" not in shown


async def test_a_database_that_is_away_is_unavailable(key_file: Path) -> None:
    with pytest.raises(Unavailable):
        await PostgresSecretStore.reach(
            "postgresql://nobody:x@127.0.0.1:1/none", SealingKeyFile.load(key_file)
        )
