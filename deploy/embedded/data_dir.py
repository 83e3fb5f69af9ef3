"""One directory that holds everything an embedded system keeps, owned by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from deploy.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable

LOCK_FILE_NAME = "owner.lock"


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Locked from `open` to `close`; the kernel releases the lock when the owner dies in any way.

    The directory has mode 0700. For root it is 0711 instead, because PostgreSQL refuses to run as root and its
    account must pass through to its own folder; everything inside is 0700 or 0600 and nothing can be listed.
    """

    path: Path
    lock_descriptor: int

    @classmethod
    def open(cls, path: Path) -> DataDirectory:
        """Create or adopt `path` and take its lock.

        Raises DataDirectoryInUse when another process (or this one) has it open, DataDirectoryUnusable when it
        holds files but was never ours: its modes are about to be tightened, which must not happen to a stranger's folder.
        """
        absolute = path.absolute()
        absolute.mkdir(parents=True, exist_ok=True)
        lock_path = absolute / LOCK_FILE_NAME
        if not lock_path.exists() and any(absolute.iterdir()):
            raise DataDirectoryUnusable(
                f"{absolute} is not empty and not a data directory; name an empty or a new one"
            )
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise DataDirectoryInUse(
                f"{absolute} is in use by process {holder}; stop it or name another"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        absolute.chmod(0o711 if os.geteuid() == 0 else 0o700)
        return cls(absolute, descriptor)

    def close(self) -> None:
        """Release the lock; call it after every server in the directory has stopped."""
        os.close(self.lock_descriptor)

    def __enter__(self) -> DataDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def folder(self, name: str) -> Path:
        """`name` inside the data directory, created with mode 0700."""
        folder = self.path / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log_file(self, server: str) -> Path:
        return self.folder("log") / f"{server}.log"

    def pid_file(self, server: str) -> Path:
        return self.folder("run") / f"{server}.pid"

    def secret_file(self, name: str, generate: Callable[[], str]) -> Path:
        """The file `secrets/<name>`, mode 0600, filled by `generate` when it does not exist yet.

        The content appears under its name whole or not at all: a crash during the first start leaves no empty secret.
        """
        target = self.folder("secrets") / name
        if not target.exists():
            write_private(target, generate())
        return target


def write_private(target: Path, content: str) -> None:
    """Put `content` into `target` with mode 0600, atomically and flushed to the disk."""
    draft = target.with_name(f"{target.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(target)
