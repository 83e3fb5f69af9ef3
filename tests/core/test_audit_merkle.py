"""Trees, proofs and notes against the definitions of RFC 6962, written out a second time as plainly as they stand there."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.audit.checkpoint import Checkpoint, checkpoint_of
from bfactors.audit.merkle import (
    EMPTY_ROOT,
    OCTAVE,
    CompactRange,
    Nodes,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from bfactors.audit.note import NoteKey, NoteSignature, SignedNote, is_key_name, parse_note
from bfactors.audit.proof import (
    Block,
    LeafRange,
    Subtrees,
    blocks_of,
    consistency_plan,
    inclusion_plan,
    proof_of,
)
from bfactors.errors import MalformedNote

ROWS = [sha256(str(number).encode()).digest() for number in range(1500)]


def head(rows: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1."""
    if not rows:
        return sha256(b"").digest()
    if len(rows) == 1:
        return sha256(b"\0" + rows[0]).digest()
    k = 1
    while 2 * k < len(rows):
        k *= 2
    return sha256(b"\1" + head(rows[:k]) + head(rows[k:])).digest()


def grown(size: int, step: int = 7) -> tuple[CompactRange, Nodes]:
    tree, kept = CompactRange(), {}
    for at in range(0, size, step):
        tree.extend(b"".join(ROWS[at : min(at + step, size)]), kept)
    return tree, kept


FULL, KEPT = grown(len(ROWS))


def read(blocks: Iterable[Block]) -> Subtrees:
    """As from a database: leaves and kept subtrees, in blocks."""
    found = Subtrees()
    for height, number in blocks:
        first = number << OCTAVE
        if height == 0:
            nodes = [leaf_hash(row) for row in ROWS[first : first + 256]]
        else:
            nodes = [KEPT[height, i] for i in range(first, first + 256) if (height, i) in KEPT]
        found.put((height, number), nodes)
    return found


def proved(plan: list[LeafRange]) -> list[bytes]:
    """A proof from nothing but the blocks that its plan asks for."""
    return proof_of(plan, read(blocks_of(plan)))


@settings(deadline=None)
@given(st.lists(st.integers(0, 70), max_size=12))
def test_a_tree_grown_in_any_steps_has_the_head_of_the_definition(steps: list[int]) -> None:
    tree = CompactRange()
    for step in steps:
        tree.extend(b"".join(ROWS[tree.size : tree.size + step]))
        tree = CompactRange.restored(tree.size, tree.frontier)  # as after a crash
    assert tree.size == sum(steps)
    assert tree.root() == head(ROWS[: tree.size])


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert CompactRange().root() == EMPTY_ROOT == head([])


def test_subtrees_of_whole_octaves_are_kept_once_they_are_complete() -> None:
    assert {height for height, _ in KEPT} == {OCTAVE}
    assert {(8, n): head(ROWS[n * 256 : (n + 1) * 256]) for n in range(len(ROWS) // 256)} == KEPT
    assert grown(len(ROWS), 300)[1] == KEPT


def test_a_frontier_that_cannot_be_of_its_size_is_refused() -> None:
    for size, frontier in ((3, b"\0" * 32), (4, b"\0" * 64), (-1, b""), (1, b"\0" * 31)):
        with pytest.raises(ValueError, match="not of"):
            CompactRange.restored(size, frontier)


@settings(deadline=None)
@given(st.integers(1, len(ROWS)), st.data())
def test_every_row_is_proved_and_no_other_in_its_place(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    root = head(ROWS[:size])
    path = proved(inclusion_plan(index, size))
    assert verify_inclusion(ROWS[index], index, size, path, root)
    assert not verify_inclusion(ROWS[index - 1], index, size, path, root)
    assert not verify_inclusion(ROWS[index], (index + 1) % (size + 1), size, path, root)
    assert not verify_inclusion(ROWS[index], index, size, path, EMPTY_ROOT)
    assert not verify_inclusion(ROWS[index], index, size, [*path, root], root)
    if path:
        assert not verify_inclusion(ROWS[index], index, size, path[:-1], root)
        assert not verify_inclusion(ROWS[index], index, size, [root, *path[1:]], root)


@settings(deadline=None)
@given(st.integers(0, len(ROWS)), st.data())
def test_a_tree_is_proved_to_begin_with_an_earlier_one_and_with_no_fork_of_it(
    second: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(0, second))
    old, new = head(ROWS[:first]), head(ROWS[:second])
    path = proved(consistency_plan(first, second))
    assert verify_consistency(first, second, path, old, new)
    if first:
        fork = head([*ROWS[: first - 1], b"\0" * 32])
        assert not verify_consistency(first, second, path, fork, new)
        assert not verify_consistency(first, second, path, old, fork) or first == second
    assert not verify_consistency(first, second, [*path, new], old, new)
    if path:
        assert not verify_consistency(first, second, path[1:], old, new)
    assert not verify_consistency(second + 1, second, path, old, new)


@settings(deadline=None)
@given(st.integers(1, 10**9), st.data())
def test_a_proof_of_any_size_needs_few_blocks(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    for plan in (inclusion_plan(index, size), consistency_plan(index + 1, size)):
        assert len(plan) <= size.bit_length() + 1
        assert len(blocks_of(plan)) <= 2 * (1 + size.bit_length() // OCTAVE)


def test_what_was_not_read_is_not_guessed() -> None:
    with pytest.raises(LookupError):
        proof_of(inclusion_plan(700, 1500), read([(0, 2)]))
    short = Subtrees()
    short.put((0, 0), [leaf_hash(ROWS[0])] * 3)
    with pytest.raises(LookupError):
        short(2, 0)
    assert (0, 0) in short
    assert (0, 1) not in short


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_plan(5, 5)
    with pytest.raises(ValueError, match="beginning"):
        consistency_plan(6, 5)


# ---------------------------------------------------------------- notes


CHECKPOINT = Checkpoint(
    origin="fleet.example/ledger",
    partition=3,
    size=1500,
    root_hash=FULL.root().hex(),
    head_hash=ROWS[-1].hex(),
    made_at=datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC),
)
SIGNATURE = NoteSignature(name="fleet.example/ledger", key_id=b"\1\2\3\4", signature=b"signature")


def test_a_checkpoint_comes_back_from_its_note_as_it_was() -> None:
    note = SignedNote(text=CHECKPOINT.text, signatures=(SIGNATURE, SIGNATURE))
    assert parse_note(str(note)) == note
    assert checkpoint_of(parse_note(str(note))) == CHECKPOINT
    assert str(note).splitlines()[:2] == ["fleet.example/ledger/03", "1500"]
    assert str(note).splitlines()[5:] == ["", *["— fleet.example/ledger AQIDBHNpZ25hdHVyZQ=="] * 2]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\n- name AQIDBHNpZ25hdHVyZQ==\n",
        "text\n\n— name AQIDBA==\n",
        "text\n\n— name !\n",
        "text\n\n— name AQIDBHNpZ25hdHVyZQ==",
        "te\rxt\n\n— name AQIDBHNpZ25hdHVyZQ==\n",
        "x" * 20_000,
    ],
)
def test_what_is_no_note_is_refused(content: str) -> None:
    with pytest.raises(MalformedNote):
        parse_note(content)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1500\n", "01500\n"),
        ("1500\n", "-1\n"),
        ("/03\n", "/3\n"),
        ("head ", "tail "),
        ("time ", ""),
        ("Z\n", "Z\nfurther\n"),
        ("12:00:05Z", "12:00:5Z"),
    ],
)
def test_a_text_written_otherwise_is_no_checkpoint(old: str, new: str) -> None:
    text = CHECKPOINT.text.replace(old, new, 1)
    assert text != CHECKPOINT.text
    with pytest.raises(MalformedNote):
        checkpoint_of(SignedNote(text=text, signatures=(SIGNATURE,)))


def test_a_keys_id_is_that_of_the_note_specification() -> None:
    bare = bytes(range(32))
    key = NoteKey(name="example.com/log", algorithm="ed25519", der=bytes(12) + bare)
    assert key.key_id == sha256(b"example.com/log\n\x01" + bare).digest()[:4]
    assert key.verifier.split("+")[:2] == ["example.com/log", key.key_id.hex()]
    ecdsa = NoteKey(name="example.com/log", algorithm="ecdsa-p256", der=b"spki")
    assert ecdsa.key_id == sha256(b"spki").digest()[:4]


def test_a_key_name_has_no_space_and_no_plus() -> None:
    assert is_key_name("fleet.example/ledger")
    assert not any(map(is_key_name, ["", "a b", "a+b", "a\n", "ä"]))
