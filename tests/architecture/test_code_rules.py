"""How the code reads, where no linter looks."""

import ast

from bfactors.purpose import purposes
from tests.architecture.source import Module, modules

MAY_CATCH_EVERYTHING = {
    "actors/mailbox.py": "the mailbox",
    "actors/prompt_mailbox.py": "the mailbox without tasks",
    "actors/ledger/commit.py": "evidence that crashes decide is quarantined",
    "supervisors/guarded_actor.py": "the supervisor",
    "supervisors/child.py": "the supervisor",
}
"""Besides these, one outermost handler per edge, which says so in its noqa."""
EDGES = ("gateways/", "deploy/", "simulator/", "supervisors/")
FORBIDDEN_NAMES = {"utils", "util", "helper", "helpers", "manager", "common", "misc", "base_utils"}


def test_every_module_says_what_it_is() -> None:
    silent = [m.name for m in modules() if m.text.strip() and not ast.get_docstring(m.tree)]
    assert silent == []


def test_modules_are_named_for_a_thing_and_not_for_being_useful() -> None:
    assert [
        m.name for m in modules() if m.name.rpartition("/")[2].removesuffix(".py") in FORBIDDEN_NAMES
    ] == []


def _broad(node: ast.ExceptHandler) -> bool:
    caught = node.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return caught is None or any(
        isinstance(k, ast.Name) and k.id in ("Exception", "BaseException") for k in kinds
    )


def _passes_on(node: ast.ExceptHandler) -> bool:
    """Tidies up and raises what it caught."""
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _reasons(module: Module) -> list[tuple[int, str]]:
    lines = module.text.splitlines()
    return [
        (node.lineno, lines[node.lineno - 1])
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and _broad(node) and not _passes_on(node)
    ]


def test_nothing_catches_everything_but_the_mailbox_the_supervisors_and_the_edges() -> None:
    found = [
        f"{module.name}:{line}"
        for module in modules()
        for line, _ in _reasons(module)
        if module.name not in MAY_CATCH_EVERYTHING and not module.name.startswith(EDGES)
    ]
    assert found == []


def test_who_catches_everything_says_why() -> None:
    unexplained = [
        f"{module.name}:{line}"
        for module in modules()
        for line, text in _reasons(module)
        if not _has_reason(text)
    ]
    assert unexplained == []


def _has_reason(text: str) -> bool:
    _, is_marked, reason = text.partition("BLE001")
    return bool(is_marked) and len(reason.strip(" -")) >= 8


def test_the_list_of_those_who_may_catch_everything_names_no_one_who_does_not() -> None:
    catching = {module.name for module in modules() if _reasons(module)}
    assert set(MAY_CATCH_EVERYTHING) <= catching


# ---------------------------------------------------------------- purposes


def _mentions_purpose(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in purposes()


def _comparisons(module: Module) -> list[int]:
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
            parts += [e for p in parts if isinstance(p, ast.Tuple | ast.List | ast.Set) for e in p.elts]
            found += [node.lineno for part in parts if _mentions_purpose(part)]
        elif isinstance(node, ast.MatchValue) and _mentions_purpose(node.value):
            found.append(node.lineno)
    return found


def test_no_code_branches_on_the_name_of_a_purpose() -> None:
    found = [
        f"{module.name}:{line}"
        for module in modules("bfactors", "actors", "supervisors", "gateways", "persistence")
        for line in _comparisons(module)
    ]
    assert found == []


def test_the_core_names_no_purpose_outside_its_own_file() -> None:
    named = [
        f"{module.name}:{node.lineno}"
        for module in modules("bfactors")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant)
        and node.value in purposes()
        and not module.name.startswith("bfactors/purposes/")
    ]
    assert named == []


# ---------------------------------------------------------------- purity


def test_the_core_awaits_nothing_and_asks_no_clock() -> None:
    found = []
    for module in modules("bfactors"):
        for node in ast.walk(module.tree):
            is_async = isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith)
            is_clock = isinstance(node, ast.Attribute) and node.attr in (
                "utcnow",
                "now",
                "today",
                "monotonic",
            )
            asks = (
                is_clock
                and isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id in ("datetime", "time", "date")
            )
            if is_async or asks:
                found.append(f"{module.name}:{getattr(node, 'lineno', 0)}")
    assert found == []
