"""Checkpoints and keys as an outsider has them: a directory, a bucket copied to one, or a single file of notes."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from bfactors.audit.checkpoint import SignedCheckpoint
from bfactors.audit.note import NoteKey, parse_note
from bfactors.audit.series import Series, series_of
from bfactors.errors import MalformedNote, SettingsError
from gateways.checkpoint.directory_store import read_checkpoints
from gateways.checkpoint.public_key import Keyring, read_keys


def checkpoints_in(place: Path) -> list[SignedCheckpoint]:
    """Every checkpoint in a file, or in the `.txt` files below a directory. Raises SettingsError."""
    try:
        files = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
        return [signed for file in files for signed in read_checkpoints(file)]
    except OSError as problem:
        raise SettingsError(f"the checkpoints in {place} cannot be read: {problem.strerror}") from problem


def keys_in(files: Iterable[Path], names: Iterable[str]) -> list[NoteKey]:
    """The public keys in files; one as PEM may sign under any of the names. Raises SettingsError."""
    found: dict[tuple[str, bytes], NoteKey] = {}
    for file in files:
        try:
            content = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise SettingsError(
                f"the public key {file} cannot be read: {type(problem).__name__}"
            ) from problem
        for name in [*names] or ["unnamed"]:
            for key in read_keys(content, name):
                found[key.name, key.der] = key
    return list(found.values())


def names_in(notes: Iterable[str]) -> list[str]:
    """The names that notes are signed under; what is no note has none."""
    found: set[str] = set()
    for note in notes:
        with contextlib.suppress(MalformedNote):
            found |= {line.name for line in parse_note(note).signatures}
    return sorted(found)


def series_in(place: Path, key_files: Sequence[Path], origin: str = "") -> Series:
    """What can be held against a ledger. Without key files those beside the checkpoints are taken. Raises SettingsError."""
    found = checkpoints_in(place)
    files = list(key_files) or (sorted(place.rglob("key-*.pem")) if place.is_dir() else [])
    names = {line.name for signed in found for line in signed.note.signatures}
    keys = keys_in(files, sorted(names))
    trusted = frozenset((key.name, key.key_id) for key in keys)
    return series_of(found, Keyring(keys), trusted, origin)
