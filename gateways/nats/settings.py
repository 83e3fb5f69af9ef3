"""How one process reaches NATS: which servers, as whom."""

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import nkeys

from bfactors.errors import SettingsError

_LOOPBACK_NAMES = {"localhost"}


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """`seed_file` holds the nkey seed of the role; `inbox_prefix` is the only place this role may receive answers.

    `longest_pause_s` bounds the pause between two attempts to connect; keep it well under a node's TTL of 10 s.

    Raises SettingsError for a seed that cannot be read, and for a server off loopback without TLS.
    """

    servers: tuple[str, ...]
    seed_file: Path
    inbox_prefix: str
    name: str
    tls: ssl.SSLContext | None = None
    longest_pause_s: float = 4.0

    def __post_init__(self) -> None:
        if not self.servers:
            raise SettingsError("no NATS server is named")
        for server in self.servers:
            if self.tls is None and not _is_loopback(urlsplit(server).hostname or ""):
                raise SettingsError(f"NATS at {server} is not on loopback and needs TLS")
        try:
            nkeys.from_seed(bytearray(self.seed_file.read_bytes().strip())).wipe()
        except (OSError, nkeys.NkeysError, ValueError) as error:
            # The error's text may hold part of the seed; its type says enough.
            raise SettingsError(
                f"the NATS seed file {self.seed_file} is unusable ({type(error).__name__})"
            ) from None


def _is_loopback(host: str) -> bool:
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
