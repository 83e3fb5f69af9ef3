"""The one WebSocket frame nearly all traffic is made of: a whole text message, which needs none of the protocol's state.

Everything else - fragments, control frames, a frame in two reads, the closing - is `websockets`' business; going through
it cost a fifth of the I/O lane. Source: RFC 6455 section 5.2.
"""

import struct

_FINAL_TEXT = 0x81
_MASKED = 0x80
_IN_16_BITS, _IN_64_BITS = 126, 127


def framed(text: bytes) -> bytes:
    """A server's frame around a whole message."""
    size = len(text)
    if size < _IN_16_BITS:
        return bytes((_FINAL_TEXT, size)) + text
    if size < 1 << 16:
        return struct.pack("!BBH", _FINAL_TEXT, _IN_16_BITS, size) + text
    return struct.pack("!BBQ", _FINAL_TEXT, _IN_64_BITS, size) + text
