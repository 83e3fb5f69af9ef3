"""The one WebSocket frame nearly all traffic is made of: a whole text message, which needs none of the protocol's state.

Everything else - fragments, control frames, a frame in two reads, the closing - is `websockets`' business; going through
it cost a fifth of the I/O lane. Source: RFC 6455 section 5.2.
"""

import struct

from websockets.frames import Frame, Opcode

try:
    from websockets.speedups import apply_mask
except ImportError:  # a build without its C part
    from websockets.utils import apply_mask

MAX_BYTES = (1 << 16) - 1
"""Longer messages are left to the protocol."""

_DATA = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_FINAL_TEXT = 0x81
_MASKED = 0x80
_IN_16_BITS, _IN_64_BITS = 126, 127
_MASK_BYTES = 4
_END_OF_REQUEST = b"\r\n\r\n"
_NOWHERE = 1 << 62


def framed(text: bytes) -> bytes:
    """A server's frame around a whole message."""
    size = len(text)
    if size < _IN_16_BITS:
        return bytes((_FINAL_TEXT, size)) + text
    if size <= MAX_BYTES:
        return struct.pack("!BBH", _FINAL_TEXT, _IN_16_BITS, size) + text
    return struct.pack("!BBQ", _FINAL_TEXT, _IN_64_BITS, size) + text


def unframed(data: bytes, max_bytes: int) -> bytes | None:
    """The message, if `data` is a client's frame around a whole one, and nothing else. None says nothing about why."""
    if len(data) < 2 + _MASK_BYTES or data[0] != _FINAL_TEXT:
        return None
    size, mask_at = data[1] - _MASKED, 2
    if size == _IN_16_BITS:
        size, mask_at = int.from_bytes(data[2:4], "big"), 4
    start = mask_at + _MASK_BYTES
    if size < 0 or size > max_bytes or len(data) != start + size or (size == _IN_64_BITS and mask_at == 2):
        return None
    return apply_mask(data[start:], data[mask_at:start])


class Alignment:
    """Whether the next byte of the client may begin a message, as far as that is certain.

    Counts what the protocol was given and what came back of it. Lengths are counted in their shortest form; a client that
    writes longer ones never adds up again, and neither does one whose upgrade request came in pieces.
    """

    __slots__ = ("_behind", "_is_fragmented")

    def __init__(self) -> None:
        self._behind = 0
        self._is_fragmented = False

    @property
    def is_between_messages(self) -> bool:
        return self._behind == 0 and not self._is_fragmented

    def given(self, data: bytes) -> None:
        """The protocol was given these bytes."""
        self._behind += len(data)

    def upgraded(self, data: bytes) -> None:
        """The protocol took a request out of the bytes it was given just now."""
        end = data.find(_END_OF_REQUEST) if self._behind == len(data) else -1
        self._behind = _NOWHERE if end < 0 else len(data) - end - len(_END_OF_REQUEST)

    def came_back(self, frame: Frame) -> None:
        """The protocol took this frame out of the bytes it was given."""
        if frame.opcode in _DATA:  # a control frame may stand between fragments
            self._is_fragmented = not frame.fin
        size = len(frame.data)
        length_bytes = 0 if size < _IN_16_BITS else 2 if size <= MAX_BYTES else 8
        self._behind -= 2 + length_bytes + _MASK_BYTES + size
