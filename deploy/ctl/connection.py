"""Where the admin API is and who asks: flags first, then BF_CTL_ADMIN, BF_CTL_TOKEN_FILE and BF_CTL_CA_FILE."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from bfactors.errors import SettingsError

ADMIN, TOKEN_FILE, CA_FILE = "BF_CTL_ADMIN", "BF_CTL_TOKEN_FILE", "BF_CTL_CA_FILE"


@dataclass(frozen=True, slots=True)
class Connection:
    """One admin API and the token to show it. `token_file` is for messages."""

    base: str
    token: str
    token_file: Path
    trust: ssl.SSLContext | None


def connection_of(
    admin: str | None, token_file: Path | None, ca_file: Path | None, environment: Mapping[str, str]
) -> Connection:
    """Raises SettingsError for what is missing or cannot work."""
    base = admin or environment.get(ADMIN)
    if not base:
        raise SettingsError(f"where is the admin API? --admin URL or {ADMIN}, as in http://127.0.0.1:9080")
    path = token_file or _path(environment.get(TOKEN_FILE))
    if path is None:
        raise SettingsError(f"which token? --token-file FILE or {TOKEN_FILE}, as in data/secrets/admin.token")
    trust = trust_of(ca_file or _path(environment.get(CA_FILE)))
    return Connection(checked_address(base), token_of(path), path, trust)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def token_of(path: Path) -> str:
    """The token in a file. Raises SettingsError."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"the token file {path} cannot be read: {problem}") from problem
    if not token or any(mark.isspace() for mark in token):
        raise SettingsError(f"the token file {path} holds no token")
    return token


def checked_address(url: str) -> str:
    """The API's address. Raises SettingsError for one that is none, or over which the token would travel in the clear."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as problem:
        raise SettingsError(f"--admin {url} is no address: {problem}") from problem
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"--admin must be http://host:port or https://host:port, not {url}")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError(f"--admin {url} would send the token in the clear: use https")
    return url


def trust_of(path: Path | None) -> ssl.SSLContext | None:
    """Who may vouch for the API's certificate, besides nobody. Raises SettingsError."""
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as problem:
        raise SettingsError(f"--ca-file {path} cannot be used: {problem}") from problem


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
