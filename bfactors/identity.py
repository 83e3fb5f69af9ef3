"""Names of chargers and managed identities, and the partition each belongs to."""

import hashlib
import re

PARTITIONS = 16
"""Fixed at the first migration: 0 is the fleet partition, 1-15 hold identities."""

FLEET = 0

CHARGER_ID_MAX_CHARS = 48
SERIAL_NUMBER_MAX_CHARS = 25
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SAFE = re.compile(rb"[A-Za-z0-9_-]")
_TOKEN_BYTE = re.compile(r"=([0-9A-F]{2})")
_FORBIDDEN_IN_CHARGER_ID = set(":/?#%\\")


def partition_of(charger_id: str) -> int:
    """The partition (1-15) that holds a charger, all its slots and its EVSEs' slots."""
    digest = hashlib.sha256(charger_id.encode()).digest()
    return 1 + int.from_bytes(digest[:8], "big") % (PARTITIONS - 1)


def subject_token(name: str) -> str:
    """Encode any name as one NATS subject token or KV key: bytes outside [A-Za-z0-9_-] become `=XX`.

    `.`, `*`, `>` and spaces in a charger's name can then not be read as structure.
    """
    if _SAFE_NAME.fullmatch(name):
        return name
    return "".join(chr(b) if _SAFE.match(bytes([b])) else f"={b:02X}" for b in name.encode())


def name_of_token(token: str) -> str:
    """The name a subject token was made from."""
    raw = bytearray()
    position = 0
    for match in _TOKEN_BYTE.finditer(token):
        raw += token[position : match.start()].encode()
        raw.append(int(match.group(1), 16))
        position = match.end()
    raw += token[position:].encode()
    return raw.decode()


def charger_id_problem(charger_id: str) -> str | None:
    """Why a text cannot be a charger id (the last part of its OCPP URL), or None if it can.

    Source: A00.FR.204 (no `:`), identifierString 48 characters.
    """
    if not charger_id or len(charger_id) > CHARGER_ID_MAX_CHARS:
        return f"must have 1 to {CHARGER_ID_MAX_CHARS} characters"
    if not charger_id.isprintable() or charger_id != charger_id.strip():
        return "must be printable, without spaces at its ends"
    if _FORBIDDEN_IN_CHARGER_ID & set(charger_id):
        return "must not contain any of : / ? # % \\"
    return None


def serial_number_problem(serial_number: str) -> str | None:
    """Why a text cannot be a charger's serial number, or None. Source: A00.FR.511 and BootNotification's limit."""
    if not serial_number or len(serial_number) > SERIAL_NUMBER_MAX_CHARS:
        return f"must have 1 to {SERIAL_NUMBER_MAX_CHARS} characters"
    if not serial_number.isprintable() or serial_number != serial_number.strip():
        return "must be printable, without spaces at its ends"
    if "://" in serial_number or "/" in serial_number:
        return "must not look like an address"
    return None
