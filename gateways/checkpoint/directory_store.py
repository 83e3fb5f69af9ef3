"""Checkpoints as files of a directory (0700, files 0600) that are only ever appended to: one for each partition and month.

    checkpoint-03-2026-11.txt     notes one after the other, each followed by an empty line
    key-<fingerprint>.pem         the public keys

What a power failure left half written stays where it is and is read as nothing. `chattr +a` on the files does no harm.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bfactors.audit.checkpoint import SignedCheckpoint, signed_checkpoint
from bfactors.audit.note import NoteKey
from bfactors.errors import MalformedNote, Unavailable
from gateways.checkpoint.public_key import pem_of

T = TypeVar("T")
_PEER = "checkpoint directory"
_END = "\n\n\n"
"""Below a note; a note itself holds no two empty lines."""
_NAME = re.compile(r"checkpoint-(\d{2})-(\d{4}-\d{2})\.txt")


class DirectoryCheckpoints:
    """`bfactors.ports.CheckpointStore` over a local file system. Several processes may append."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def append(self, checkpoint: SignedCheckpoint) -> None:
        await _on_thread(lambda: self._append(checkpoint))

    async def held(self, origin: str, partition: int, from_size: int) -> Sequence[SignedCheckpoint]:
        return await _on_thread(lambda: self._held(origin, partition, from_size))

    async def keep_key(self, key: NoteKey) -> None:
        def keep() -> None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._directory / f"key-{key.fingerprint_sha256}.pem"
            if not path.exists() or path.stat().st_size == 0:
                _write(path, pem_of(key).encode(), os.O_TRUNC)

        await _on_thread(keep)

    # ------------------------------------------------------------ on a thread

    def _append(self, signed: SignedCheckpoint) -> None:
        checkpoint = signed.checkpoint
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"checkpoint-{checkpoint.partition:02d}-{checkpoint.made_at:%Y-%m}.txt"
        content = f"{signed.note}\n\n".encode()
        if not _ends_well(path):
            content = b"\n\n\n" + content
        _write(path, content, os.O_APPEND)

    def _held(self, origin: str, partition: int, from_size: int) -> list[SignedCheckpoint]:
        found: dict[tuple[int, str], SignedCheckpoint] = {}
        for path in self._files(partition):
            some = {
                (signed.checkpoint.size, signed.checkpoint.root_hash): signed
                for signed in read_checkpoints(path)
                if signed.checkpoint.origin == origin and signed.checkpoint.partition == partition
            }
            wanted = {key: signed for key, signed in some.items() if key[0] >= from_size}
            found |= wanted
            if some and not wanted:
                break  # still earlier months hold still smaller ones
        return [found[key] for key in sorted(found)]

    def _files(self, partition: int) -> list[Path]:
        """Of one partition, the newest month first."""
        try:
            names = sorted((entry.name for entry in os.scandir(self._directory)), reverse=True)
        except FileNotFoundError:
            return []
        return [
            self._directory / name
            for name in names
            if (match := _NAME.fullmatch(name)) is not None and int(match[1]) == partition
        ]


def read_checkpoints(path: Path) -> Iterator[SignedCheckpoint]:
    """Those of one file in its order; what is no checkpoint is passed over. Raises OSError."""
    for content in path.read_text("utf-8", "replace").split(_END):
        if content.strip("\n"):
            with contextlib.suppress(MalformedNote):
                yield signed_checkpoint(content.strip("\n") + "\n")


def _ends_well(path: Path) -> bool:
    """Whether the last note was written to its end."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_END)))
            return size == 0 or file.read() == _END.encode()
    except FileNotFoundError:
        return True


def _write(path: Path, content: bytes, how: int) -> None:
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how
    descriptor = os.open(path, flags, 0o600)
    try:
        written = os.write(descriptor, content)
        if written != len(content):
            raise OSError(f"{written} of {len(content)} bytes were written to {path.name}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def _on_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise Unavailable(_PEER, error.strerror or str(error)) from error
