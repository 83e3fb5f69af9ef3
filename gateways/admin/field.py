"""The texts a request may carry, as annotated types: what is written here is enforced and documented at once."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from bfactors.identity import CHARGER_ID_MAX_CHARS, SERIAL_NUMBER_MAX_CHARS

_END = r"$(?!\n)"
"""The very end, for Python too, whose `$` also matches before a last line break; JSON Schema's engines read it alike."""
_PRINTABLE = (
    r"^[^\u0000-\u0020\u007f-\u00a0](?:[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u00a0])?" + _END
)
_TEXT = r"^[^\u0000]*" + _END

ChargerId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=CHARGER_ID_MAX_CHARS,
        pattern=r"^[^\u0000-\u0020\u007f-\u00a0:/?#%\\](?:[^\u0000-\u001f\u007f-\u009f:/?#%\\]*"
        r"[^\u0000-\u0020\u007f-\u00a0:/?#%\\])?" + _END,
        description="The last part of the charger's OCPP URL: printable, without any of : / ? # % \\",
    ),
]
SerialNumber = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=SERIAL_NUMBER_MAX_CHARS,
        pattern=_PRINTABLE.replace(r"\u00a0]", r"\u00a0/]").replace(r"\u009f]", r"\u009f/]"),
        description="As in the charger's BootNotification and certificate; must not look like an address",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=_PRINTABLE)]
"""A family, site, cohort, organization or common name."""
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=_PRINTABLE)]
PathName = Annotated[str, Meta(min_length=1, max_length=256)]
"""A name in a path: one that cannot exist is unknown, not invalid."""
Reason = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        pattern=r"^[^\u0000]*[^\u0000-\u0020\u007f-\u00a0][^\u0000]*" + _END,
        description="For people",
    ),
]
Note = Annotated[str, Meta(max_length=500, pattern=_TEXT)]
Pem = Annotated[str, Meta(min_length=1, max_length=65536, pattern=_TEXT, description="One PEM certificate")]
AuthorizationKey = Annotated[
    str,
    Meta(
        min_length=16,
        max_length=64,
        pattern=r"^[^\u0000-\u001f\u007f-\u009f]+" + _END,
        description="The charger's Basic password; kept only as a verifier",
    ),
]
Profile = Annotated[int, Meta(ge=0, le=3, description="OCPP security profile")]
AuthorityId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}" + _END, description="A CA's `authority_id`")]
Arn = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^arn:[!-~]+" + _END)]
Fingerprint = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{64}" + _END)]
HexSerial = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{1,64}" + _END)]
Time = Annotated[datetime, Meta(tz=True)]
Search = Annotated[str, Meta(min_length=1, max_length=128, pattern=_TEXT)]
Limit = Annotated[int, Meta(ge=1, le=500)]
Cursor = Annotated[str, Meta(max_length=1024, pattern=r"^[A-Za-z0-9_-]+" + _END)]
Moment = Annotated[str, Meta(max_length=64, pattern=r"^[0-9TtZz:.+\- ]+" + _END)]
"""An RFC 3339 time, or `<partition>:<sequence>` in the ledger."""

DEFAULT_LIMIT = 100
