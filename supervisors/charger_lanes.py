"""Where chargers' actors live: each family's lane, reached in batches from the I/O lane and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from actors.mailbox import Mailbox
from supervisors.child import ChildNotice, Lost, Refused
from supervisors.hop import Hop
from supervisors.lane import Lane
from supervisors.tree import Tree

Post = Callable[[Callable[[], object]], bool]
HOP_CAPACITY = 1 << 20
"""Never full in practice: a post may refuse only when its lane is gone; backpressure is the berth's credit."""


class ChargerLanes:
    """`actors.charger_berth.Lanes` over the supervision tree."""

    def __init__(self, tree: Tree, io_lane: Lane) -> None:
        self._tree = tree
        self._io_lane = io_lane
        self._posts: WeakKeyDictionary[Lane, Post] = WeakKeyDictionary()
        self.to_io: Post = Hop[Callable[[], object]](
            io_lane, _call, source=io_lane, capacity=HOP_CAPACITY
        ).put

    def place(
        self,
        family: str,
        name: str,
        make: Callable[[Post], Mailbox[Any]],
        lost: Callable[[str], object],
    ) -> None:
        """Have the family's supervisor make and keep the actor; see `actors.charger_berth.Lanes`."""

        def notice(news: ChildNotice) -> None:
            if isinstance(news, Lost | Refused):
                lost(news.reason)

        self._tree.family(family).start_child(name, lambda lane: make(self._post(lane)), notice)

    def release(self, family: str, name: str) -> None:
        """The actor has ended in order."""
        self._tree.family(family).stop_child(name)

    def _post(self, lane: Lane) -> Post:
        post = self._posts.get(lane)
        if post is None:
            post = Hop[Callable[[], object]](lane, _call, source=self._io_lane, capacity=HOP_CAPACITY).put
            self._posts[lane] = post
        return post


def _call(callback: Callable[[], object]) -> None:
    callback()
