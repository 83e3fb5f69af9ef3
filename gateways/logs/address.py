"""What an upload's request line and credential say, read without trusting either."""

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote

from bfactors.log_upload import credential_hash, is_ticket, recorded_file_name

_FOLDER = "/upload/"


@dataclass(frozen=True, slots=True)
class UploadAddress:
    """A ticket from `/upload/<ticket>[/<file name>]`; the name is only recorded."""

    ticket: str = field(repr=False)
    file_name: str | None


def upload_address(raw_path: str) -> UploadAddress | None:
    """Read the path as it came over the wire; None: nothing of ours. A query is ignored."""
    path = raw_path.partition("?")[0]
    if not path.startswith(_FOLDER):
        return None
    ticket, _, name = path.removeprefix(_FOLDER).partition("/")
    if not is_ticket(ticket):
        return None
    return UploadAddress(ticket, recorded_file_name(unquote(name, errors="replace")))


def presented_credential(authorization: str | None) -> str | None:
    """The hash of HTTP Basic credentials; None when there are none that can be read."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    return credential_hash(user, password) if colon else None
