"""The lean parser against the library's: the same messages, however the bytes are cut and whatever stands between them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from gateways.nats.parser import LeanParser

Taken = tuple[int, bytes, bytes, bytes, bytes | None]


class Listener:
    """What a parser tells its client; `takes` at once every message whose subscription is even."""

    def __init__(self) -> None:
        self.heard: list[Taken | str] = []
        self.by_the_library = 0

    def take(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        if sid % 2:
            return False
        self.heard.append((sid, subject, reply, data, headers))
        return True

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None
    ) -> None:
        self.by_the_library += 1
        self.heard.append((sid, subject, reply, data, headers))

    async def _process_ping(self) -> None:
        self.heard.append("ping")

    async def _process_pong(self) -> None:
        self.heard.append("pong")


BYTES = st.binary(max_size=30) | st.sampled_from([b"", b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n"])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["msg", "msg", "headed", "ping", "pong", "ok"]))
    if kind not in ("msg", "headed"):
        return {"ping": b"PING\r\n", "pong": b"PONG\r\n", "ok": b"+OK\r\n"}[kind]
    reply = draw(st.sampled_from([b"", b"_INBOX.1 "]))
    sid, data = draw(st.integers(1, 20)), draw(BYTES)
    if kind == "msg":
        return b"MSG a.b %d %s%d\r\n%s\r\n" % (sid, reply, len(data), data)
    head = b"NATS/1.0\r\nA: b\r\n\r\n"
    return b"HMSG a.b %d %s%d %d\r\n%s%s\r\n" % (sid, reply, len(head), len(head) + len(data), head, data)


@given(sent=st.lists(frames(), max_size=12), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=30))
async def test_both_parsers_hear_the_same(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(sent)
    lean, plain = Listener(), Listener()
    ours, theirs = LeanParser(lean), Parser(plain)
    at, turn = 0, 0
    while at < len(stream):
        piece = stream[at : at + cuts[turn % len(cuts)]]
        at, turn = at + len(piece), turn + 1
        await ours.parse(piece)
        await theirs.parse(piece)
        assert lean.heard == plain.heard
    assert len(lean.heard) == len([each for each in sent if not each.startswith(b"+OK")])
    assert not ours.buf


@pytest.mark.parametrize("piece", range(1, 60))
async def test_a_message_that_begins_in_one_read_and_ends_in_another_keeps_to_the_short_way(
    piece: int,
) -> None:
    stream = b"".join(b"MSG a.b 2 r 20\r\n%020d\r\n" % number for number in range(20))
    lean = Listener()
    parser = LeanParser(lean)
    for at in range(0, len(stream), piece):
        await parser.parse(stream[at : at + piece])
    assert [each[3] for each in lean.heard if not isinstance(each, str)] == [b"%020d" % n for n in range(20)]
    assert lean.by_the_library == 0


async def test_a_long_message_in_pieces_is_left_to_the_library() -> None:
    stream = b"MSG a.b 2 r 100000\r\n" + b"x" * 100_000 + b"\r\n"
    lean = Listener()
    parser = LeanParser(lean)
    for at in range(0, len(stream), 30_000):
        await parser.parse(stream[at : at + 30_000])
    assert len(lean.heard) == lean.by_the_library == 1


@pytest.mark.parametrize(
    "nonsense", [b"MSG a one 3\r\nabc\r\n", b"MSG a 1 x\r\nabc\r\n", b"HMSG a 1 2\r\n", b"WHAT\r\n"]
)
async def test_nonsense_is_refused_as_the_library_refuses_it(nonsense: bytes) -> None:
    for parser in (LeanParser(Listener()), Parser(Listener())):
        with pytest.raises(ProtocolError):
            await parser.parse(b"MSG a 2 1\r\nz\r\n" + nonsense)
