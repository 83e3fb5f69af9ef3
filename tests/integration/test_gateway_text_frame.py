"""Whole text frames are written, and read, exactly as `websockets` writes and reads them, whatever surrounds them."""

import os
import struct
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from gateways.ocpp.text_frame import MAX_BYTES, Alignment, framed, unframed

REQUEST = (
    b"GET /ocpp/CH-1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def sent(text: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True, is_long: bool = False) -> bytes:
    """A client's frame; `is_long` spends more bytes on the length than it needs."""
    if not is_long:
        return Frame(opcode, text, fin).serialize(mask=True)
    mask = os.urandom(4)
    return struct.pack("!BBH", 0x80 * fin | opcode, 0x80 | 126, len(text)) + mask + apply_mask(text, mask)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_a_message_is_framed_as_websockets_would(size: int) -> None:
    text = os.urandom(size)
    assert framed(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 128, 65535])
def test_a_whole_frame_gives_its_message(size: int) -> None:
    text = os.urandom(size)
    assert unframed(sent(text), MAX_BYTES) == text
    assert unframed(sent(text), size) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        sent(b"hello")[:-1],
        sent(b"hello") + b"\x81",
        sent(b"hello", fin=False),
        sent(b"hello", Opcode.CONT),
        sent(b"hello", Opcode.BINARY),
        sent(b"hello", Opcode.PING),
        framed(b"hello, unmasked"),
        bytes((0xC1,)) + sent(b"hello")[1:],
        sent(b"x" * 65536),
        struct.pack("!BBQ", 0x81, 0xFF, 121) + bytes(4 + 121),
        struct.pack("!BB", 0x81, 0xFF) + bytes(4 + 127),
    ],
    ids=range(12),  # masks are random, and tests must have the same name in every process
)
def test_anything_else_is_left_to_websockets(data: bytes) -> None:
    assert unframed(data, MAX_BYTES) is None


def test_a_frame_that_is_too_long_is_left_to_websockets() -> None:
    assert unframed(sent(bytes(9)), 9) == bytes(9)
    assert unframed(sent(bytes(9)), 8) is None


PIECES = st.lists(
    st.one_of(
        st.builds(lambda text: [sent(text)], st.binary(max_size=200)),
        st.builds(lambda text: [sent(text, is_long=True)], st.binary(max_size=10)),
        st.builds(lambda text: [sent(text, Opcode.PING)], st.binary(max_size=20)),
        st.builds(
            lambda a, ping, b: [
                sent(a, fin=False),
                *([sent(b"", Opcode.PING)] if ping else []),
                sent(b, Opcode.CONT),
            ],
            st.binary(max_size=20),
            st.booleans(),
            st.binary(max_size=20),
        ),
        # a payload that looks like the end of a request, and like a frame
        st.just([sent(b"\r\n\r\n")]),
        st.just([sent(sent(b"inner"))]),
    ),
    max_size=8,
)


class Reader:
    """The protocol and the alignment, as a connection uses them."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol()
        self._alignment = Alignment()

    @property
    def is_between_messages(self) -> bool:
        return self._protocol.state is State.OPEN and self._alignment.is_between_messages

    def read(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._alignment.given(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._alignment.upgraded(data)
                self._protocol.send_response(self._protocol.accept(event))
            else:
                assert isinstance(event, Frame)
                self._alignment.came_back(event)


@settings(max_examples=300, deadline=None)
@given(PIECES, st.data())
def test_however_the_bytes_arrive_the_protocol_is_passed_by_only_between_messages(
    pieces: list[list[bytes]], data: st.DataObject
) -> None:
    parts = [REQUEST, *(frame for piece in pieces for frame in piece)]
    stream = b"".join(parts)
    ends = list(accumulate(map(len, parts)))
    starts = list(accumulate([len(REQUEST), *(sum(map(len, piece)) for piece in pieces)]))
    cuts = {*data.draw(st.lists(st.sampled_from(ends))), len(stream)}
    cuts |= set(data.draw(st.lists(st.integers(1, len(stream)), max_size=3)))
    reader, done = Reader(), 0
    for cut in sorted(cuts):
        if reader.is_between_messages:
            assert done in starts
            if unframed(stream[done:cut], MAX_BYTES) is not None:
                assert cut in ends
                done = cut
                continue
        reader.read(stream[done:cut])
        done = cut


def test_after_a_ping_and_a_frame_in_two_reads_the_protocol_is_passed_by_again() -> None:
    reader = Reader()
    late = sent(b"late")
    for data, is_between_messages in (
        (REQUEST, True),
        (sent(b"", Opcode.PING), True),
        (late[:3], False),
        (late[3:], True),
    ):
        reader.read(data)
        assert reader.is_between_messages is is_between_messages


def test_a_client_that_cannot_be_followed_is_never_passed_by() -> None:
    in_pieces, long_winded = Reader(), Reader()
    in_pieces.read(REQUEST[:50])
    in_pieces.read(REQUEST[50:])
    long_winded.read(REQUEST)
    long_winded.read(sent(b"short", is_long=True))
    for reader in (in_pieces, long_winded):
        assert not reader.is_between_messages
        reader.read(sent(b"next"))
        assert not reader.is_between_messages


def test_the_end_of_the_request_is_its_first_blank_line() -> None:
    reader = Reader()
    reader.read(REQUEST + bytes((0x81, 0x80 | 6, 0, 0, 0, 0)) + b"\r\n\r\n")
    assert not reader.is_between_messages
