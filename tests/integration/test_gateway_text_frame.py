"""Whole text frames are written, and read, exactly as `websockets` writes and reads them."""

import pytest
from websockets.frames import Frame, Opcode

from gateways.ocpp.text_frame import framed


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70_000])
def test_a_message_is_framed_as_websockets_would(size: int) -> None:
    text = b"x" * size
    assert framed(text) == Frame(Opcode.TEXT, text).serialize(mask=False)
