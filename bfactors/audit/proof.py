"""Which hashes a proof is made of, and how they come from what is kept: leaves, and subtrees of whole octaves.

A proof is planned as ranges of leaves; whoever has the tree reads the blocks these need; then the proof is put together.
Source: RFC 6962 sections 2.1.1 and 2.1.2.
"""

from collections.abc import Callable, Iterator, Sequence

from bfactors.audit.merkle import OCTAVE, node_hash

LeafRange = tuple[int, int]
"""Leaves from the first up to, not including, the second."""

Block = tuple[int, int]
"""(height, number): the 256 kept nodes of that height from `number * 256` on; height 0 are the leaves."""

Lookup = Callable[[int, int], bytes]
"""The hash of a complete subtree by (height, index)."""


class Subtrees:
    """A `Lookup` over the blocks that were read: each is hashed up once, however many proofs go through it."""

    def __init__(self) -> None:
        self._levels: dict[Block, list[list[bytes]]] = {}

    def __contains__(self, block: Block) -> bool:
        return block in self._levels

    def put(self, block: Block, nodes: list[bytes]) -> None:
        """Up to 256 kept nodes of one height; fewer at the end of the tree."""
        levels = [nodes]
        while len(levels) < OCTAVE and len(levels[-1]) > 1:
            below = iter(levels[-1])
            levels.append([node_hash(left, right) for left, right in zip(below, below, strict=False)])
        self._levels[block] = levels

    def __call__(self, height: int, index: int) -> bytes:
        """Raises LookupError for one that is not whole in what was read."""
        block = _block_of(height, index)
        level = height % OCTAVE
        return self._levels[block][level][index - (block[1] << OCTAVE - level)]


def inclusion_plan(index: int, size: int) -> list[LeafRange]:
    """The ranges whose hashes prove that leaf `index` is in the tree of `size` leaves. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    plan: list[LeafRange] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            plan.append((middle, end))
            end = middle
        else:
            plan.append((begin, middle))
            begin = middle
    return plan[::-1]


def consistency_plan(first: int, second: int) -> list[LeafRange]:
    """The ranges whose hashes prove that `second` leaves begin with the `first`. Raises ValueError."""
    if not 0 <= first <= second:
        raise ValueError(f"{first} leaves are not the beginning of {second}")
    if first in (0, second):
        return []
    plan: list[LeafRange] = []
    begin, end, is_whole = 0, second, True
    while first != end:
        middle = begin + _split(end - begin)
        if first <= middle:
            plan.append((middle, end))
            end = middle
        else:
            plan.append((begin, middle))
            begin, is_whole = middle, False
    if not is_whole:
        plan.append((begin, end))
    return plan[::-1]


def blocks_of(plan: Sequence[LeafRange]) -> set[Block]:
    """What has to be at hand to put a planned proof together."""
    needed: set[Block] = set()
    for leaves in plan:
        needed |= {_block_of(height, index) for height, index in _subtrees(leaves)}
    return needed


def proof_of(plan: Sequence[LeafRange], lookup: Lookup) -> list[bytes]:
    """The proof itself, in the order verifiers take it."""
    return [_range_hash(leaves, lookup) for leaves in plan]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _subtrees(leaves: LeafRange) -> Iterator[tuple[int, int]]:
    """The complete subtrees of a range that begins where one of its size may begin, largest first."""
    begin, end = leaves
    while begin < end:
        height = (end - begin).bit_length() - 1
        yield height, begin >> height
        begin += 1 << height


def _block_of(height: int, index: int) -> Block:
    """Where the kept nodes below a subtree lie: always in one block."""
    level = height % OCTAVE
    return height - level, index << level >> OCTAVE


def _range_hash(leaves: LeafRange, lookup: Lookup) -> bytes:
    found: bytes | None = None
    for height, index in reversed(list(_subtrees(leaves))):
        node = lookup(height, index)
        found = node if found is None else node_hash(node, found)
    assert found is not None
    return found
