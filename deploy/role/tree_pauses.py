"""Recorded pauses and drains, carried out on this process's supervision tree."""

from collections.abc import Mapping

from bfactors.fleet.state import SupervisorPause
from supervisors.tree import Tree


class TreePauses:
    """Applies what the ledger recorded for the kinds of supervisor this process has; the latest word wins."""

    def __init__(self, tree: Tree, kinds: frozenset[str]) -> None:
        self._tree = tree
        self._kinds = kinds
        self._applied: dict[str, SupervisorPause] = {}

    def apply(self, pauses: Mapping[str, SupervisorPause]) -> None:
        """Bring the tree to these pauses. I/O lane; returns at once."""
        wanted = {key: pause for key, pause in pauses.items() if pause.kind in self._kinds}
        for key, pause in wanted.items():
            if self._applied.get(key) == pause:
                continue
            if pause.state == "draining":
                self._tree.apply_drain(pause.kind, pause.name, pause.reason)
            else:
                self._tree.apply_pause(pause.kind, pause.name, True, pause.reason)
        for key, pause in self._applied.items():
            if key not in wanted:
                self._tree.apply_pause(pause.kind, pause.name, False, "resumed")
        self._applied = wanted
