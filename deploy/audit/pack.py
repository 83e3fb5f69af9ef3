"""Evidence packs: gathered from the database, signed, and put into an archive; and archives taken apart again."""

import asyncio
import io
import zipfile
from datetime import datetime
from pathlib import Path

import orjson

from bfactors.audit.checkpoint import SignedCheckpoint
from bfactors.audit.note import SignedNote
from bfactors.audit.pack import (
    MANIFEST,
    SIGNED_MANIFEST,
    Files,
    Material,
    manifest_text,
    pack_files,
)
from bfactors.audit.proof import consistency_plan, inclusion_plan
from bfactors.errors import SettingsError
from bfactors.identity import partition_of
from bfactors.ledger_row import EventRow
from bfactors.ports import NoteSigner
from bfactors.refusal import Refusal
from deploy.audit.readme import readme
from gateways.checkpoint.public_key import pem_of
from persistence.proof import ProofReader

EVENTS_MAX = 20_000
"""Events in one pack; a charger with more is a case for an export."""
EARLIER_MAX = 50
PACK_MAX_BYTES = 1 << 30
_FILES_MAX = 10_000


async def make_pack(
    charger_id: str, proofs: ProofReader, signer: NoteSigner, made_at: datetime
) -> bytes | Refusal:
    """The archive. Raises Unavailable, LedgerCorrupt."""
    partition = partition_of(charger_id)
    found = await proofs.charger_events(charger_id, partition, EVENTS_MAX + 1)
    if not found:
        return Refusal("unknown-charger", f"the ledger has no event of a charger {charger_id!r}", None, 404)
    if len(found) > EVENTS_MAX:
        return Refusal(
            "too-many-events", f"the charger has more than {EVENTS_MAX} events; export the ledger", None, 409
        )
    signed = await proofs.signed(partition)
    covered = [] if signed is None else [row for row in found if row.sequence <= signed.checkpoint.size]
    if signed is None or not covered:
        return Refusal(
            "not-covered", "no event of this charger is under a checkpoint yet; ask again later", None, 409
        )
    material = await _material(charger_id, covered, len(found) - len(covered), signed, proofs, made_at)
    text = readme(charger_id, signed.checkpoint, made_at, material.events_behind)
    files = await asyncio.to_thread(pack_files, material, text)
    statement = manifest_text(signed.checkpoint.origin, files[MANIFEST], charger_id, made_at)
    note = SignedNote(text=statement, signatures=tuple(await signer.sign(statement)))
    files[SIGNED_MANIFEST] = str(note).encode()
    return await asyncio.to_thread(archive, files, made_at)


async def _material(
    charger_id: str,
    events: list[EventRow],
    behind: int,
    signed: SignedCheckpoint,
    proofs: ProofReader,
    made_at: datetime,
) -> Material:
    checkpoint = signed.checkpoint
    blocks = proofs.blocks(checkpoint.partition)
    earlier = [
        (each, await blocks.proof(consistency_plan(each.checkpoint.size, checkpoint.size)))
        for each in await proofs.notes(checkpoint.origin, checkpoint.partition, EARLIER_MAX + 1)
        if each.checkpoint.size < checkpoint.size
    ]
    certificates = [orjson.loads(doc) for doc in await proofs.charger_certificates(charger_id)]
    return Material(
        charger_id=charger_id,
        checkpoint=signed,
        events=events,
        paths=[await blocks.proof(inclusion_plan(row.sequence - 1, checkpoint.size)) for row in events],
        events_behind=behind,
        earlier=earlier,
        certificates=[each for each in certificates if each.get("pem")],
        keys={key.fingerprint_sha256: pem_of(key) for key, _ in await proofs.key_rows()},
        made_at=made_at.replace(microsecond=0),
    )


def archive(files: Files, made_at: datetime) -> bytes:
    """As a zip archive; the same files give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, made_at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            opened.writestr(info, files[name])
    return content.getvalue()


def files_of(path: Path) -> dict[str, bytes]:
    """What an archive holds; read into memory, nothing is unpacked. Raises SettingsError."""
    try:
        with zipfile.ZipFile(path) as opened:
            entries = opened.infolist()
            names = [entry.filename for entry in entries]
            if len(set(names)) != len(names):
                raise SettingsError(f"{path} holds a file twice")
            if len(names) > _FILES_MAX or sum(entry.file_size for entry in entries) > PACK_MAX_BYTES:
                raise SettingsError(f"{path} is larger than any evidence pack")
            return {entry.filename: opened.read(entry) for entry in entries}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as problem:
        raise SettingsError(f"{path} cannot be read as an archive: {type(problem).__name__}") from problem
