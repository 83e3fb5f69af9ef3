"""What arrived on a subject, freed from the client library's own type."""

from collections.abc import Mapping
from typing import NamedTuple

_NO_RESPONDERS = "503"
_STATUS = "Status"


class Message(NamedTuple):
    """One message as received. `reply` is "" when no answer is wanted; `headers` is None when there are none."""

    subject: str
    reply: str
    payload: bytes
    headers: Mapping[str, str] | None

    @property
    def status(self) -> str:
        """The server's inline status ("100", "404", "503" ...), "" for an ordinary message."""
        return self.headers.get(_STATUS, "") if self.headers else ""

    @property
    def nobody_listens(self) -> bool:
        """Whether the server says that no one is subscribed where we asked."""
        return not self.payload and self.status == _NO_RESPONDERS
