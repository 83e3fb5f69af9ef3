"""A charger's log on its way to us: the one-time ticket that allows the upload, and what is known once it is here.

A ticket is 128 random bits or more in a URL; only its SHA-256 is ever kept, so that no table, message or log can be
used to upload. A name under which a log is stored is generated, never the charger's.
"""

import base64
import hashlib
import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import msgspec

TICKET_MIN_BYTES = 16
FILE_NAME_MAX_CHARS = 255
"""What OCPP allows a charger to say in GetLog's answer."""
CONTENT_TYPE_MAX_CHARS = 128

_TICKET = re.compile(r"[A-Za-z0-9_-]{22,128}")
_STORED_NAME = re.compile(r"([0-9a-f]{16})-(\d{8}T\d{6}Z)-([A-Za-z0-9]{1,64})")
_STAMP = "%Y%m%dT%H%M%SZ"


class UploadTicket(msgspec.Struct, frozen=True, kw_only=True):
    """The right to upload one log. `log_type` as GetLog named it; `max_bytes` bounds the file, not what wraps it."""

    charger_id: str
    request_id: int
    log_type: str
    expires_at: datetime
    max_bytes: int
    credential_hash: str | None = None
    """`credential_hash(user, password)` of the URL's HTTP Basic credential; None: the ticket alone suffices."""


class UploadReceived(msgspec.Struct, frozen=True, kw_only=True):
    """One complete log, stored. `sha256` is lower hex; `file_name` and `content_type` are the charger's word."""

    ticket_hash: str
    charger_id: str
    request_id: int
    log_type: str
    sha256: str
    size_bytes: int
    stored_name: str
    received_at: datetime
    remote_address: str
    content_type: str
    file_name: str | None


class UploadFailed(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that began under a valid ticket and left nothing; the ticket stays good until it expires.

    `reason` is kebab-case: `broken-off`, `too-slow`, `too-large`, `malformed`, `empty`, `charger-quota`, `fleet-quota`,
    `store-away`.
    """

    ticket_hash: str
    charger_id: str
    request_id: int
    reason: str
    received_bytes: int
    failed_at: datetime
    remote_address: str


class StoredLog(msgspec.Struct, frozen=True):
    """One log in the store, as its name and size tell. `charger_key` is `charger_key(charger_id)`."""

    stored_name: str
    charger_key: str
    stored_at: datetime
    size_bytes: int


# ---------------------------------------------------------------- the ticket


def ticket_text(random: bytes) -> str:
    """A ticket as it stands in the URL, of bytes from a secure source. Raises ValueError below 128 bits."""
    if len(random) < TICKET_MIN_BYTES:
        raise ValueError("a ticket has 128 bits or more")
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode("ascii")


def is_ticket(text: str) -> bool:
    """Whether `text` could be a ticket at all; anything else need not be looked up."""
    return _TICKET.fullmatch(text) is not None


def ticket_hash(ticket: str) -> str:
    """What is kept of a ticket: lower hex SHA-256. Its entropy makes a slow hash unnecessary."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def credential_hash(user: str, password: str) -> str:
    """What is kept of a request's Basic credential; the password is as random as a ticket."""
    return hashlib.sha256(f"{user}:{password}".encode()).hexdigest()


def upload_url(public_url: str, ticket: str, *, user: str = "", password: str = "") -> str:
    """What GetLog's `remoteLocation` says: `<public_url>/upload/<ticket>`, without query, fragment or slash at its end.

    `public_url` is the receiver as chargers reach it. Raises ValueError: it is no http(s) URL, or holds more than a path.
    """
    parts = urlsplit(public_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("the public URL of the log receiver must be http(s)://host[:port][/path]")
    credential = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{credential}{host}{parts.path.rstrip('/')}/upload/{ticket}"


# ---------------------------------------------------------------- names


def charger_key(charger_id: str) -> str:
    """How a stored name tells its charger: without a character of the id, of one length, the same every time."""
    return hashlib.sha256(charger_id.encode()).hexdigest()[:16]


def stored_name(charger_id: str, at: datetime, unique: str) -> str:
    """The generated name of a log: charger, time, and an id of letters and digits that occurs once."""
    name = f"{charger_key(charger_id)}-{at.astimezone(UTC).strftime(_STAMP)}-{unique}"
    if _STORED_NAME.fullmatch(name) is None:
        raise ValueError("the unique part of a stored name is 1 to 64 letters and digits")
    return name


def stored_log(name: str, size_bytes: int) -> StoredLog | None:
    """What a name in the store stands for; None if it is none of ours, so that nothing else is opened or deleted."""
    found = _STORED_NAME.fullmatch(name)
    if found is None:
        return None
    try:
        at = datetime.strptime(found[2], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return StoredLog(name, found[1], at, size_bytes)


def recorded_file_name(text: str | None) -> str | None:
    """The charger's file name as it may be recorded and shown: the last component, printable, bounded; None if nothing is left.

    It never names anything on our side. Control, format (also those that turn the reading direction), surrogate and
    private characters are dropped.
    """
    last = re.split(r"[/\\]", text or "")[-1]
    clean = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029").strip()
    if clean.strip(".") == "":
        return None
    return clean[:FILE_NAME_MAX_CHARS]


def recorded_content_type(text: str | None) -> str:
    """The charger's Content-Type as it may be recorded: printable ASCII, bounded; "" when it said none."""
    return "".join(c for c in text or "" if " " <= c <= "~")[:CONTENT_TYPE_MAX_CHARS]
