"""The client library's parser with a shorter way for whole messages, of which several arrive in one read."""

from typing import Any

from nats.protocol.parser import AWAITING_CONTROL_LINE, Parser

_END = b"\r\n"
_SHORT_BYTES = 64 * 1024
"""A longer payload that comes in pieces is the library's: here its beginning would be copied with every piece."""


class LeanParser(Parser):  # type: ignore[misc]  # the library is untyped
    """Takes whole MSG and HMSG off the front, and keeps one that has only begun until the rest is there.

    Whatever else comes is the library's. A message that begins at the end of one read is usual where a stream is read in
    bulk; left to the library it would take the whole of the next read with it, whose end is another one's beginning.
    """

    async def parse(self, data: bytes = b"") -> None:
        """Raises the library's ProtocolError."""
        if self.state != AWAITING_CONTROL_LINE:
            await super().parse(data)
            return
        client: Any = self.nc
        whole = bytes(self.buf) + data if self.buf else data
        self.buf.clear()
        at, length = 0, len(whole)
        has_begun = False
        try:
            while at < length:
                has_headers = whole.startswith(b"HMSG ", at)
                if not has_headers and not whole.startswith(b"MSG ", at):
                    break
                line_end = whole.find(_END, at)
                words = whole[at:line_end].split() if line_end > 0 else []
                reply_at = 5 if has_headers else 4  # as many words come without a reply
                if len(words) not in (reply_at, reply_at + 1):
                    break
                if not (words[2] + words[-1] + (words[-2] if has_headers else b"")).isdigit():
                    break  # the library says what it thinks of that
                begins = line_end + 2
                ends = begins + int(words[-1])
                if ends + 2 > length:
                    has_begun = ends - begins <= _SHORT_BYTES
                    break
                headers, payload_at = None, begins
                if has_headers:
                    payload_at += int(words[-2])
                    headers = whole[begins:payload_at]
                reply = words[3] if len(words) > reply_at else b""
                at = ends + 2
                sid, subject, payload = int(words[2]), words[1], whole[payload_at:ends]
                if not client.take(sid, subject, reply, payload, headers):
                    await client._process_msg(sid, subject, reply, payload, headers)
        finally:
            self.buf[:] = whole[at:]
        if self.buf and not has_begun:
            await super().parse(b"")
