"""PostgreSQL from its wheel as a direct child: one cluster per data directory, passwords for everyone."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from deploy.embedded.child import Account, ChildCommand, ChildProcess
from deploy.embedded.data_dir import DataDirectory, write_private
from deploy.embedded.errors import EmbeddedError, ServerDidNotStart
from deploy.embedded.postgres_install import (
    PostgresInstall,
    require_reachable,
    server_account,
    usable_install,
    wheel_install,
)
from deploy.embedded.postgres_settings import NOT_DURABLE_SETTINGS, SETTINGS

SUPERUSER = "postgres"
ROLES = (SUPERUSER, "bf_owner", "bf_writer", "bf_reader")
SOCKET_PORT = 5432  # only a part of the socket's file name unless TCP is used
SOCKET_PATH_LIMIT_BYTES = 103  # sun_path on macOS, terminator excluded; Linux has 107
INITDB_DEADLINE = timedelta(seconds=60)
START_DEADLINE = timedelta(seconds=60)  # recovery after a crash replays up to max_wal_size
STOP_DEADLINE = timedelta(seconds=5)
PREDECESSOR_PAUSE = timedelta(milliseconds=50)
# What postgres says while processes of a killed predecessor are still leaving.
PREDECESSOR_SIGNS = ("pre-existing shared memory block", 'lock file "postmaster.pid" already exists')
PORT_TAKEN_SIGN = "Address already in use"


class EmbeddedPostgres:
    """A running server. `start` and `restart` belong to the main thread.

    Reached through a unix socket inside the data directory, or through 127.0.0.1 when the path is too long for one
    or a `tcp_port` is asked for. Every login needs a password; they lie in `secrets/` with mode 0600. The roles
    bf_owner, bf_writer and bf_reader have a password here but are created by persistence's migrations.
    """

    def __init__(
        self,
        data: DataDirectory,
        install: PostgresInstall,
        account: Account | None,
        tcp_port: int | None,
        durable: bool,
    ) -> None:
        self._data = data
        self._install = install
        self._account = account
        self._durable = durable
        self._home = data.path / "postgres"
        self._port_is_ours_to_choose = tcp_port in (None, 0)
        self._tcp_port = tcp_port
        self._child: ChildProcess | None = None

    @classmethod
    def start(
        cls,
        data: DataDirectory,
        *,
        durable: bool = True,
        tcp_port: int | None = None,
        install: PostgresInstall | None = None,
    ) -> EmbeddedPostgres:
        """Create the cluster on first use, start the server, return when it accepts connections.

        `tcp_port` adds 127.0.0.1 (0 picks a free port). `durable=False` gives up crash safety for speed: tests only.
        Raises ServerDidNotStart, ServerBinariesMissing, DataDirectoryUnusable.
        """
        account = server_account(data.path / "postgres")
        require_reachable(data.path, account)
        server = cls(
            data, usable_install(data, account, install or wheel_install()), account, tcp_port, durable
        )
        server._prepare()
        server._launch()
        return server

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    @property
    def cluster(self) -> Path:
        return self._home / "cluster"

    def stop(self) -> None:
        """Fast shutdown: sessions are cut, committed rows are kept. Harmless when it is not running."""
        if self._child is not None:
            self._child.stop(STOP_DEADLINE)

    def restart(self) -> None:
        """Stop if it still runs, start again at the same address; also the way back after a crash."""
        self.stop()
        self._launch()

    def password_file(self, role: str) -> Path:
        """Raises EmbeddedError for a role this server keeps no password for."""
        if role not in ROLES:
            raise EmbeddedError(f"no password is kept for the role {role!r}; known: {', '.join(ROLES)}")
        return self._data.secret_file(f"postgres-{role}.password", _new_password)

    def password(self, role: str) -> str:
        return self.password_file(role).read_text(encoding="utf-8").strip()

    def dsn(self, role: str = SUPERUSER, database: str = "postgres") -> str:
        """A URL with the password in it: for a pool, never for a log or an argument list."""
        return f"postgresql://{role}:{quote(self.password(role), safe='')}@{self._place(database)}"

    def dsn_without_password(self, role: str = SUPERUSER, database: str = "postgres") -> str:
        """A URL that names the password file instead; asyncpg and libpq both read it. Safe to show."""
        place = self._place(database)
        joint = "&" if "?" in place else "?"
        return f"postgresql://{role}@{place}{joint}{urlencode({'passfile': str(self._password_table)})}"

    @property
    def _password_table(self) -> Path:
        return self._data.folder("secrets") / "pgpass"

    @property
    def _socket_folder(self) -> Path:
        return self._home / "socket"

    @property
    def _socket_fits(self) -> bool:
        return len(os.fsencode(self._socket_folder / f".s.PGSQL.{SOCKET_PORT}")) <= SOCKET_PATH_LIMIT_BYTES

    def _place(self, database: str) -> str:
        if self._socket_fits:
            where = urlencode({"host": str(self._socket_folder), "port": self._tcp_port or SOCKET_PORT})
            return f"/{quote(database, safe='')}?{where}"
        return f"127.0.0.1:{self._tcp_port}/{quote(database, safe='')}"

    def _prepare(self) -> None:
        for folder in (self._home, self._socket_folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            self._give(folder)
        table = "".join(f"*:*:*:{role}:{self.password(role)}\n" for role in ROLES)
        write_private(self._password_table, table)
        if not self.cluster.exists():
            self._create_cluster()

    def _create_cluster(self) -> None:
        """Under another name first: an initdb that was cut short must not look like a cluster."""
        draft = self._home / "cluster.draft"
        shutil.rmtree(draft, ignore_errors=True)
        password_copy = self._home / "initdb.password"  # the server's account cannot read secrets/
        write_private(password_copy, self.password(SUPERUSER) + "\n")
        self._give(password_copy)
        arguments = [
            str(self._install.program("initdb")),
            *("--pgdata", str(draft), "--username", SUPERUSER, "--pwfile", str(password_copy)),
            *(
                "--auth",
                "scram-sha-256",
                "--encoding",
                "UTF8",
                "--locale-provider",
                "builtin",
                "--locale",
                "C.UTF-8",
            ),
            "--no-instructions",
            *(() if self._durable else ("--no-sync",)),
        ]
        try:
            ChildProcess.spawn(self._command("initdb", arguments, signal.SIGINT)).wait_for_exit(
                INITDB_DEADLINE
            )
        finally:
            password_copy.unlink()
        draft.rename(self.cluster)

    def _launch(self) -> None:
        """Start, and start again while a killed predecessor's processes still leave or a chosen port is snatched."""
        latest = time.monotonic() + START_DEADLINE.total_seconds()
        while True:
            if (not self._socket_fits and self._tcp_port is None) or self._tcp_port == 0:
                self._tcp_port = _free_port()
            self._child = ChildProcess.spawn(
                self._command("postgres", self._server_arguments(), signal.SIGINT)
            )
            try:
                self._child.wait_until(self._accepting, START_DEADLINE)
            except ServerDidNotStart:
                said = self._child.log_tail()
                if PORT_TAKEN_SIGN in said and self._port_is_ours_to_choose:
                    self._tcp_port = 0
                elif not any(sign in said for sign in PREDECESSOR_SIGNS):
                    raise
                if time.monotonic() > latest:
                    raise
                _await_predecessor()
            else:
                return

    def _server_arguments(self) -> list[str]:
        settings = dict(SETTINGS)
        if not self._durable:
            settings |= NOT_DURABLE_SETTINGS
        settings["listen_addresses"] = "127.0.0.1" if self._tcp_port else ""
        settings["unix_socket_directories"] = str(self._socket_folder) if self._socket_fits else ""
        settings["port"] = str(self._tcp_port or SOCKET_PORT)
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._install.program("postgres")), "-D", str(self.cluster), *flags]

    def _accepting(self) -> bool | None:
        """Reads what pg_ctl reads: the server writes its state into the eighth line of postmaster.pid.

        The first line must be our child's id; a predecessor that was killed leaves its file behind.
        """
        try:
            lines = (self.cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        ready = len(lines) >= 8 and lines[0].strip() == str(self.pid) and lines[7].strip() == "ready"
        return True if ready else None

    def _command(self, name: str, arguments: list[str], stop_signal: signal.Signals) -> ChildCommand:
        return ChildCommand(
            name=name,
            arguments=tuple(arguments),
            log_file=self._data.log_file("postgres"),
            pid_file=self._data.pid_file("postgres"),
            stop_signal=stop_signal,
            account=self._account,
        )

    def _give(self, path: Path) -> None:
        if self._account is not None:
            # Not through a link: the folder belongs to the low account, which could have put one there.
            os.chown(path, self._account.user_id, self._account.group_id, follow_symlinks=False)

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise EmbeddedError("PostgreSQL has not been started")
        return self._child


def _await_predecessor() -> None:
    time.sleep(PREDECESSOR_PAUSE.total_seconds())


def _new_password() -> str:
    return secrets.token_urlsafe(32)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
