"""multipart/form-data with one file part, read as it arrives: bytes in, the file's bytes out, everything else bounded.

Sans I/O. Nothing but the current line or a boundary's length is held back, so a body of any size costs a few KiB.

Source: RFC 2046 section 5.1.1 (boundaries), RFC 7578 (form-data) as publicly known.
"""

import re
from enum import Enum, auto

BOUNDARY_MAX_CHARS = 70
HEADER_BYTES_MAX = 8 * 1024
"""All header lines of one part."""
OTHER_BYTES_MAX = 32 * 1024
"""Preamble, epilogue and parts that are no file, together."""

_BOUNDARY = re.compile(r'(?:^|;)\s*boundary\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE)
_BOUNDARY_TEXT = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_FILE_NAME = re.compile(r';\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)


class MalformedMultipart(ValueError):
    """The body is no multipart/form-data with exactly one file, or wraps it in too much; the text is for a person."""


class _Place(Enum):
    PREAMBLE = auto()
    AFTER_BOUNDARY = auto()
    HEADERS = auto()
    FILE = auto()
    OTHER = auto()
    EPILOGUE = auto()


def boundary_of(content_type: str) -> bytes:
    """The boundary a Content-Type names. Raises MalformedMultipart."""
    found = _BOUNDARY.search(content_type)
    text = (found[1] if found[1] is not None else found[2]) if found else ""
    if len(text) > BOUNDARY_MAX_CHARS or _BOUNDARY_TEXT.fullmatch(text) is None:
        raise MalformedMultipart("the Content-Type names no usable boundary")
    return text.encode("ascii")


class FilePart:
    """Feeds on a multipart body and gives out the bytes of its one part that has a file name."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # A line end before the body lets the first boundary look like every other one.
        self._held = b"\r\n"
        self._place = _Place.PREAMBLE
        self._other_bytes = 0
        self._has_file = False
        self.file_name: str | None = None
        self.content_type = ""

    def feed(self, data: bytes) -> bytes:
        """Take up a piece of the body; returns what of the file it completed, often b"". Raises MalformedMultipart."""
        self._held += data
        given: list[bytes] = []
        while self._step(given):
            pass
        return b"".join(given)

    def end(self) -> None:
        """The body is over. Raises MalformedMultipart: the closing boundary, or the file, is missing."""
        if self._place is not _Place.EPILOGUE:
            raise MalformedMultipart("the body ends before its closing boundary")
        if not self._has_file:
            raise MalformedMultipart("no part of the body has a file name")

    def _step(self, given: list[bytes]) -> bool:
        """One thing recognised in what is held; False: more is needed."""
        match self._place:
            case _Place.PREAMBLE | _Place.FILE | _Place.OTHER:
                return self._content(given)
            case _Place.AFTER_BOUNDARY:
                return self._after_boundary()
            case _Place.HEADERS:
                return self._headers()
            case _Place.EPILOGUE:
                self._spend(len(self._held))
                self._held = b""
                return False

    def _content(self, given: list[bytes]) -> bool:
        at = self._held.find(self._delimiter)
        # What could be the beginning of a boundary stays held.
        known = at if at >= 0 else max(len(self._held) - len(self._delimiter) + 1, 0)
        if self._place is _Place.FILE:
            given.append(self._held[:known])
        else:
            self._spend(known)
        if at < 0:
            self._held = self._held[known:]
            return False
        self._held = self._held[at + len(self._delimiter) :]
        self._place = _Place.AFTER_BOUNDARY
        return True

    def _after_boundary(self) -> bool:
        if self._held.startswith(b"--"):
            self._place = _Place.EPILOGUE
            return True
        line_end = self._held.find(b"\r\n")
        padding = self._held if line_end < 0 else self._held[:line_end]
        if len(padding) > 128 or padding.strip(b" \t\r-"):
            raise MalformedMultipart("a boundary is followed by something else than a line end")
        if line_end < 0:
            return False
        # The line end stays: with it even a part without headers ends them by an empty line.
        self._held = self._held[line_end:]
        self._place = _Place.HEADERS
        return True

    def _headers(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end > HEADER_BYTES_MAX or (end < 0 and len(self._held) > HEADER_BYTES_MAX):
            raise MalformedMultipart(f"the headers of a part are longer than {HEADER_BYTES_MAX} bytes")
        if end < 0:
            return False
        disposition, content_type = _described(self._held[:end])
        self._held = self._held[end + 4 :]
        name = _FILE_NAME.search(disposition)
        if name is None:
            self._spend(end)
            self._place = _Place.OTHER
            return True
        if self._has_file:
            raise MalformedMultipart("the body holds more than one file")
        self._has_file = True
        self.file_name = re.sub(r'\\(["\\])', r"\1", name[1]) if name[1] is not None else name[2]
        self.content_type = content_type
        self._place = _Place.FILE
        return True

    def _spend(self, count: int) -> None:
        self._other_bytes += count
        if self._other_bytes > OTHER_BYTES_MAX:
            raise MalformedMultipart(f"the body holds more than {OTHER_BYTES_MAX} bytes besides the file")


def _described(block: bytes) -> tuple[str, str]:
    """Content-Disposition and Content-Type among a part's header lines. Raises MalformedMultipart."""
    found = {"content-disposition": "", "content-type": ""}
    for line in block.decode("utf-8", "replace").split("\r\n"):
        name, colon, value = line.partition(":")
        if line and (not colon or name != name.strip()):
            raise MalformedMultipart("a header line of a part has no name")
        if name.lower() in found:
            found[name.lower()] = value.strip()
    return found["content-disposition"], found["content-type"]
