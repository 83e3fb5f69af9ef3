"""The evidence pack of one charger: which files it is made of, and what makes it hold. Files as values, no archive here."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from bfactors.audit.checkpoint import SignedCheckpoint
from bfactors.ledger_row import EventRow

FORMAT = "betterfleet-evidence-pack"
MANIFEST = "MANIFEST.sha256"
SIGNED_MANIFEST = "MANIFEST.note"
DESCRIPTION = "pack.json"
EVENTS = "events.jsonl"
PROOFS = "proofs.jsonl"
CHECKPOINT = "checkpoint.txt"
EARLIER = "checkpoints.jsonl"
README = "README.md"

Files = Mapping[str, bytes]
_encode = msgspec.json.Encoder().encode


class PackCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate and where in the pack it and its chain are; `chain_file` None: none is known."""

    certificate_id: str
    purpose: str
    fingerprint_sha256: str
    file: str
    chain_file: str | None = None


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a pack says of itself. `events_behind` are the charger's events that no checkpoint covers yet: left out."""

    charger_id: str
    origin: str
    partition: int
    tree_size: int
    root_hash: str
    made_at: datetime
    events: int
    events_behind: int
    certificates: tuple[PackCertificate, ...] = ()
    format: str = FORMAT
    version: int = 1


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """An event's audit path, or an earlier checkpoint's consistency proof, as lower hex."""

    sequence: int
    path: tuple[str, ...]


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier checkpoint and the proof that the pack's only adds rows to it."""

    size: int
    note: str
    consistency: tuple[str, ...]


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """All that goes into a pack."""

    charger_id: str
    checkpoint: SignedCheckpoint
    events: Sequence[EventRow]
    paths: Sequence[Sequence[bytes]]
    events_behind: int
    earlier: Sequence[tuple[SignedCheckpoint, Sequence[bytes]]]
    certificates: Sequence[Mapping[str, str]]
    """With certificate_id, purpose, fingerprint_sha256, pem and chain_pem."""
    keys: Mapping[str, str]
    """Public keys as PEM, by fingerprint."""
    made_at: datetime


def pack_files(material: Material, readme: str) -> dict[str, bytes]:
    """Every file but the signed manifest, which is signed over the manifest made here."""
    checkpoint = material.checkpoint.checkpoint
    certificates, files = _certificates(material.certificates)
    description = Description(
        charger_id=material.charger_id,
        origin=checkpoint.origin,
        partition=checkpoint.partition,
        tree_size=checkpoint.size,
        root_hash=checkpoint.root_hash,
        made_at=material.made_at.astimezone(UTC),
        events=len(material.events),
        events_behind=material.events_behind,
        certificates=certificates,
    )
    files |= {f"keys/{fingerprint}.pem": pem.encode() for fingerprint, pem in material.keys.items()}
    files[README] = readme.encode()
    files[DESCRIPTION] = json.dumps(msgspec.to_builtins(description), indent=2).encode() + b"\n"
    files[EVENTS] = _lines(material.events)
    files[PROOFS] = _lines(
        [
            Path(sequence=row.sequence, path=_hex(path))
            for row, path in zip(material.events, material.paths, strict=True)
        ]
    )
    files[CHECKPOINT] = str(material.checkpoint.note).encode()
    files[EARLIER] = _lines(
        [
            Earlier(size=signed.checkpoint.size, note=str(signed.note), consistency=_hex(path))
            for signed, path in material.earlier
        ]
    )
    files[MANIFEST] = manifest_of(files)
    return files


def manifest_of(files: Files) -> bytes:
    """The hashes of all files, as `sha256sum --check` reads them."""
    return "".join([f"{sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]).encode()


def manifest_text(origin: str, manifest: bytes, charger_id: str, made_at: datetime) -> str:
    """What is signed of a manifest. Its first line differs from every checkpoint's: neither passes for the other."""
    made = made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = json.dumps(charger_id)
    return f"{origin}/evidence-pack\n{sha256(manifest).hexdigest()}\ncharger {name}\ntime {made}\n"


def is_key(name: str) -> bool:
    """Whether a file of a pack is a public key."""
    return name.startswith("keys/") and name.endswith(".pem")


def _certificates(
    found: Sequence[Mapping[str, str]],
) -> tuple[tuple[PackCertificate, ...], dict[str, bytes]]:
    files: dict[str, bytes] = {}
    described: list[PackCertificate] = []
    for number, each in enumerate(found, start=1):
        name = f"certificates/{number:03d}-{each['fingerprint_sha256'][:16]}"
        files[f"{name}.pem"] = each["pem"].encode()
        chain = f"{name}-chain.pem" if each["chain_pem"] else None
        if chain is not None:
            files[chain] = each["chain_pem"].encode()
        described.append(
            PackCertificate(
                certificate_id=each["certificate_id"],
                purpose=each["purpose"],
                fingerprint_sha256=each["fingerprint_sha256"],
                file=f"{name}.pem",
                chain_file=chain,
            )
        )
    return tuple(described), files


def _lines(values: Sequence[msgspec.Struct]) -> bytes:
    return b"".join([_encode(value) + b"\n" for value in values])


def _hex(hashes: Sequence[bytes]) -> tuple[str, ...]:
    return tuple([each.hex() for each in hashes])
