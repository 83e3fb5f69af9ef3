"""What has to hold of an evidence pack, in the order an outsider would ask: unchanged, signed, in the ledger, of one piece."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from bfactors.audit.checkpoint import SignedCheckpoint, signed_checkpoint
from bfactors.audit.merkle import verify_consistency, verify_inclusion
from bfactors.audit.note import parse_note
from bfactors.audit.pack import (
    CHECKPOINT,
    DESCRIPTION,
    EARLIER,
    EVENTS,
    FORMAT,
    MANIFEST,
    PROOFS,
    SIGNED_MANIFEST,
    Description,
    Earlier,
    Files,
    Path,
    manifest_of,
    manifest_text,
)
from bfactors.errors import MalformedNote
from bfactors.ledger_row import EventRow, row_hash
from bfactors.ports import NoteVerifier
from bfactors.x509 import MalformedX509, parse_certificate

T = TypeVar("T")


class PackReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack holds, and everything that is wrong with it, in the order it was looked at."""

    description: Description | None
    problems: tuple[str, ...]
    notices: tuple[str, ...] = ()

    @property
    def intact(self) -> bool:
        return not self.problems


def check_pack(files: Files, verifier: NoteVerifier) -> PackReport:
    """Check it against keys that the reader trusts. A pack that cannot be read has that as its problem."""
    try:
        description = _decode(files, DESCRIPTION, Description)
        if description.format != FORMAT or description.version != 1:
            raise ValueError(f"{DESCRIPTION} is not of an evidence pack of version 1")
        problems = [
            *_manifest_problems(files, description, verifier),
            *_ledger_problems(files, description, verifier),
        ]
        found, notices = _certificate_problems(files, description)
    except (
        KeyError,
        ValueError,
        MalformedNote,
        MalformedX509,
    ) as problem:  # msgspec's errors are ValueErrors
        missing = f"{problem.args[0]} is missing" if isinstance(problem, KeyError) else str(problem)
        return PackReport(description=None, problems=(f"the pack cannot be read: {missing}",))
    return PackReport(description=description, problems=(*problems, *found), notices=tuple(notices))


def _manifest_problems(files: Files, description: Description, verifier: NoteVerifier) -> list[str]:
    listed = {name: content for name, content in files.items() if name not in (MANIFEST, SIGNED_MANIFEST)}
    problems = []
    wanted, found = manifest_of(listed).splitlines(), files[MANIFEST].splitlines()
    for line in sorted({*wanted} ^ {*found}):
        name = line.decode("utf-8", "replace").partition("  ")[2]
        text = f"{name} is not the file that the manifest lists"
        if text not in problems:
            problems.append(text)
    note = parse_note(files[SIGNED_MANIFEST].decode())
    text = manifest_text(description.origin, files[MANIFEST], description.charger_id, description.made_at)
    if note.text != text:
        problems.append(f"{SIGNED_MANIFEST} is of another manifest")
    elif not verifier.signed_by(note):
        problems.append(f"{SIGNED_MANIFEST} bears no signature of a key you trust")
    return problems


def _ledger_problems(files: Files, description: Description, verifier: NoteVerifier) -> list[str]:
    signed = signed_checkpoint(files[CHECKPOINT].decode())
    checkpoint = signed.checkpoint
    problems = []
    if not verifier.signed_by(signed.note):
        problems.append(f"{CHECKPOINT} bears no signature of a key you trust")
    told = (description.origin, description.partition, description.tree_size, description.root_hash)
    if told != (checkpoint.origin, checkpoint.partition, checkpoint.size, checkpoint.root_hash):
        problems.append(f"{CHECKPOINT} is not the one {DESCRIPTION} names")
    events, paths = _all(files, EVENTS, EventRow), _all(files, PROOFS, Path)
    if [row.sequence for row in events] != [path.sequence for path in paths] or len(
        events
    ) != description.events:
        problems.append(f"{EVENTS}, {PROOFS} and {DESCRIPTION} are not of the same events")
    for row, path in zip(events, paths, strict=False):
        if (problem := _event_problem(row, path, description, signed)) is not None:
            problems.append(f"event {row.partition}:{row.sequence}: {problem}")
    problems += _order_problems(events)
    for earlier in _all(files, EARLIER, Earlier):
        if (problem := _earlier_problem(earlier, signed, verifier)) is not None:
            problems.append(f"the checkpoint of {earlier.size} rows: {problem}")
    return problems


def _event_problem(
    row: EventRow, path: Path, description: Description, signed: SignedCheckpoint
) -> str | None:
    fields = msgspec.structs.asdict(row)
    told = fields.pop("hash")
    if row_hash(**fields) != told:
        return "its fields do not give its hash"
    if row.charger_id != description.charger_id or row.partition != description.partition:
        return "it is of another charger"
    checkpoint = signed.checkpoint
    if not verify_inclusion(
        bytes.fromhex(told),
        row.sequence - 1,
        checkpoint.size,
        [bytes.fromhex(part) for part in path.path],
        bytes.fromhex(checkpoint.root_hash),
    ):
        return "its proof does not lead to the checkpoint"
    return None


def _order_problems(events: Sequence[EventRow]) -> list[str]:
    sequences = [row.sequence for row in events]
    return [] if sequences == sorted(set(sequences)) else [f"{EVENTS} is out of order"]


def _earlier_problem(earlier: Earlier, signed: SignedCheckpoint, verifier: NoteVerifier) -> str | None:
    found = signed_checkpoint(earlier.note)
    first, second = found.checkpoint, signed.checkpoint
    if not verifier.signed_by(found.note):
        return "it bears no signature of a key you trust"
    if (first.origin, first.partition, first.size) != (second.origin, second.partition, earlier.size):
        return "it is of another ledger"
    path = [bytes.fromhex(part) for part in earlier.consistency]
    if not verify_consistency(
        first.size, second.size, path, bytes.fromhex(first.root_hash), bytes.fromhex(second.root_hash)
    ):
        return "the pack's checkpoint is not of the same rows and more"
    return None


def _certificate_problems(files: Files, description: Description) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    notices: list[str] = []
    events = files[EVENTS].decode()
    for certificate in description.certificates:
        if (
            parse_certificate(files[certificate.file].decode()).fingerprint_sha256
            != certificate.fingerprint_sha256
        ):
            problems.append(f"{certificate.file} is not the certificate {certificate.certificate_id}")
        elif certificate.fingerprint_sha256 not in events:
            notices.append(f"{certificate.file}: no event of the pack names its fingerprint")
    return problems, notices


def _decode(files: Files, name: str, kind: type[T]) -> T:
    return msgspec.json.decode(files[name], type=kind)


def _all(files: Files, name: str, kind: type[T]) -> list[T]:
    decode = msgspec.json.Decoder(kind).decode
    return [decode(line) for line in files[name].splitlines()]
