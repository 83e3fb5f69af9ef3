"""Logs as files of one directory (0700, files 0600), each beside a `.sha256` that `sha256sum -c` understands.

A log is written as `.part-<name>`, synced, its digest put in place, and only then renamed: what has a log's name is
complete and has its digest. System calls run on the executor's threads, never on the loop.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, TypeVar

from bfactors.errors import Unavailable
from bfactors.log_upload import StoredLog, stored_log

T = TypeVar("T")

CHUNK_BYTES = 256 * 1024
_PART = ".part-"
_DIGEST = ".sha256"
_PEER = "log store"


class DirectoryLogStore:
    """`bfactors.ports.LogStore` over a local file system. One process owns the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def start(self) -> None:
        """Make the directory and clear away what a killed process left half written. Raises Unavailable."""
        await _on_thread(self._tidy)

    async def begin(self, stored_name: str) -> "DirectoryLogWriter":
        part = self._path(stored_name, before=_PART)
        file = await _on_thread(lambda: _create(part))
        return DirectoryLogWriter(self._directory, stored_name, part, file)

    async def open_log(self, stored_name: str) -> "DirectoryOpenLog | None":
        if stored_log(stored_name, 0) is None:
            return None
        return await _on_thread(lambda: self._open(stored_name))

    async def stored(self) -> Sequence[StoredLog]:
        return await _on_thread(self._list)

    async def delete(self, stored_name: str) -> bool:
        if stored_log(stored_name, 0) is None:
            return False
        return await _on_thread(lambda: self._delete(stored_name))

    async def expire(self, older_than: datetime) -> Sequence[StoredLog]:
        def expire() -> list[StoredLog]:
            old = [log for log in self._list() if log.stored_at < older_than]
            return [log for log in old if self._delete(log.stored_name)]

        return await _on_thread(expire)

    # ------------------------------------------------------------ on a thread

    def _path(self, stored_name: str, *, before: str = "", after: str = "") -> Path:
        if stored_log(stored_name, 0) is None:
            raise ValueError("not a generated name of a log")
        return self._directory / f"{before}{stored_name}{after}"

    def _tidy(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        names = {entry.name for entry in os.scandir(self._directory)}
        for name in names:
            is_orphan = name.endswith(_DIGEST) and name.removesuffix(_DIGEST) not in names
            if name.startswith(_PART) or is_orphan:
                (self._directory / name).unlink(missing_ok=True)

    def _list(self) -> list[StoredLog]:
        found = []
        for entry in os.scandir(self._directory):
            # A file deleted meanwhile is no error: it is just not there.
            with contextlib.suppress(FileNotFoundError):
                log = stored_log(entry.name, 0)
                if log is not None and entry.is_file(follow_symlinks=False):
                    size = entry.stat(follow_symlinks=False).st_size
                    found.append(StoredLog(log.stored_name, log.charger_key, log.stored_at, size))
        return sorted(found, key=lambda log: log.stored_name)

    def _open(self, stored_name: str) -> "DirectoryOpenLog | None":
        try:
            descriptor = os.open(self._path(stored_name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        file = os.fdopen(descriptor, "rb")
        try:
            digest = self._path(stored_name, after=_DIGEST).read_text("ascii").split(" ")[0]
            return DirectoryOpenLog(file, os.fstat(descriptor).st_size, _checked(digest))
        except (OSError, ValueError):
            file.close()
            raise

    def _delete(self, stored_name: str) -> bool:
        try:
            self._path(stored_name).unlink()
        except FileNotFoundError:
            return False
        self._path(stored_name, after=_DIGEST).unlink(missing_ok=True)
        return True


class DirectoryLogWriter:
    """`bfactors.ports.LogWriter`: a part file until `finish`."""

    def __init__(self, directory: Path, stored_name: str, part: Path, file: BinaryIO) -> None:
        self._directory = directory
        self._name = stored_name
        self._part = part
        self._file = file

    async def write(self, chunk: bytes) -> None:
        await _on_thread(lambda: self._file.write(chunk))

    async def finish(self, sha256: str) -> None:
        def finish() -> None:
            digest = self._directory / f"{self._name}{_DIGEST}"
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            with _create(digest) as file:
                file.write(f"{sha256}  {self._name}\n".encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            self._part.rename(self._directory / self._name)
            _sync(self._directory)

        await _on_thread(finish)

    async def abandon(self) -> None:
        def abandon() -> None:
            with contextlib.suppress(OSError, ValueError):
                self._file.close()
            if self._part.exists():  # not renamed, so a digest would be an orphan
                (self._directory / f"{self._name}{_DIGEST}").unlink(missing_ok=True)
                self._part.unlink(missing_ok=True)

        # What cannot be removed now is removed at the next start.
        with contextlib.suppress(Unavailable):
            await _on_thread(abandon)


class DirectoryOpenLog:
    """`bfactors.ports.OpenLog` over an open file: deleting the log meanwhile does not cut the reader."""

    def __init__(self, file: BinaryIO, size_bytes: int, sha256: str) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._sha256 = sha256

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def sha256(self) -> str:
        return self._sha256

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while chunk := await _on_thread(lambda: self._file.read(CHUNK_BYTES)):
            yield chunk

    async def close(self) -> None:
        self._file.close()


def _create(path: Path) -> BinaryIO:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _sync(directory: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(digest: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
        raise OSError("a log's digest file holds no digest")
    return digest


async def _on_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise Unavailable(_PEER, error.strerror or type(error).__name__) from error
