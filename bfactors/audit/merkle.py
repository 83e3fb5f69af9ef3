"""RFC 6962 Merkle trees over a partition's rows, grown without the old leaves.

A leaf is a row's own SHA-256 (`bfactors.ledger_row.row_hash`), so leaf number `sequence - 1` commits to every field of that
event and, through `previous_hash`, to all before it. Source: RFC 6962 section 2.1, RFC 9162 section 2.1.
"""

from collections.abc import Sequence
from hashlib import sha256
from struct import iter_unpack

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
OCTAVE = 8
"""Heights between kept nodes: a subtree of 256 leaves, of 65,536, ... is kept, what lies between is hashed again."""

Nodes = dict[tuple[int, int], bytes]
"""Complete subtrees by (height, index); index counts subtrees of that height from the left."""


def leaf_hash(row: bytes) -> bytes:
    """The hash of a leaf; `row` is a row's hash as 32 bytes."""
    return sha256(b"\x00" + row).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A tree by the roots of its complete subtrees: one for each bit set in its size. Growing costs the new leaves only."""

    __slots__ = ("_peaks", "size")

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes | None] = []

    @classmethod
    def restored(cls, size: int, frontier: bytes) -> "CompactRange":
        """The tree that `frontier` was taken of. Raises ValueError when it cannot be of that size."""
        tree = cls()
        if size < 0 or len(frontier) != HASH_BYTES * size.bit_count():
            raise ValueError(f"a frontier of {len(frontier)} bytes is not of {size} leaves")
        tree.size = size
        tree._peaks = [None] * size.bit_length()
        parts = iter(range(0, len(frontier), HASH_BYTES))
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                at = next(parts)
                tree._peaks[height] = frontier[at : at + HASH_BYTES]
        return tree

    @property
    def frontier(self) -> bytes:
        """The roots, largest subtree first: at most 32 bytes for each time the size can be halved."""
        return b"".join([peak for peak in reversed(self._peaks) if peak is not None])

    def extend(self, rows: bytes, kept: Nodes | None = None) -> None:
        """Append leaves: rows' hashes, end to end. Subtrees of whole octaves completed by this are added to `kept`."""
        level = [sha256(b"\x00" + row).digest() for (row,) in iter_unpack("32s", rows)]
        start, height = self.size, 0
        self.size += len(level)
        while level:
            if kept is not None and height and height % OCTAVE == 0:
                for index, node in enumerate(level, start):
                    kept[height, index] = node
            if height == len(self._peaks):
                self._peaks.append(None)
            if start & 1:
                left = self._peaks[height]
                assert left is not None
                level.insert(0, left)
            self._peaks[height] = level[-1] if len(level) & 1 else None
            nodes = iter(level)
            level = [
                sha256(b"\x01" + left + right).digest() for left, right in zip(nodes, nodes, strict=False)
            ]
            start >>= 1
            height += 1

    def root(self) -> bytes:
        """The tree head's hash."""
        found: bytes | None = None
        for peak in self._peaks:
            if peak is not None:
                found = peak if found is None else node_hash(peak, found)
        return EMPTY_ROOT if found is None else found


def verify_inclusion(row: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether a row's hash is leaf `index` of the tree of `size` leaves with that root. Source: RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, last, found = index, size - 1, leaf_hash(row)
    for sibling in path:
        if last == 0:
            return False
        if node & 1 or node == last:
            found = node_hash(sibling, found)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and found == root


def verify_consistency(
    first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Whether the second tree is the first with leaves appended. Source: RFC 9162 section 2.1.4.2."""
    if not 0 <= first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    if first == 0:
        return not path and first_root == EMPTY_ROOT
    nodes = list(path)
    if first & (first - 1) == 0:
        nodes.insert(0, first_root)
    if not nodes:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node >>= 1
        last >>= 1
    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and old == first_root and new == second_root
