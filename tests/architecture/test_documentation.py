"""The documentation names everything an operator can meet, and its links lead somewhere."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bfactors.policy import Policy
from bfactors.settings import PREFIX, Settings
from deploy.command.main import parser
from deploy.ctl.connection import ADMIN, CA_FILE, TOKEN_FILE
from gateways.metrics import METRICS, MetricSpec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])

_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*|(?:-[a-z0-9]+)+")

_CODE_ARGUMENT = {
    "Finding": 0,
    "GateClosed": 0,
    "Problem": 0,
    "Refusal": 0,
    "fail": 1,
    "retry": 1,
    "_overdue": 2,
}
"""Which argument of a call holds the code that a person will read."""


def text_of(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows_of(name: str) -> set[str]:
    """What stands in backticks in the first cell of a table's rows; a cell may name several."""
    found: set[str] = set()
    for line in text_of(name).splitlines():
        if line.startswith("| "):
            found |= set(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return found


def subcommands() -> list[str]:
    actions = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return sorted(actions[0].choices)


def codes_in(source: str) -> Iterator[str]:
    """Codes of refusals, findings, gates, failures and stage reasons that stand in a module as literals."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        places = [
            node.args[at] for at in [_CODE_ARGUMENT.get(name)] if at is not None and at < len(node.args)
        ]
        if name == "stage":
            places += [
                keyword.value.elts[0]
                for keyword in node.keywords
                if keyword.arg == "reason" and isinstance(keyword.value, ast.Tuple)
            ]
        for place in places:
            for part in ast.walk(place):
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and _CODE.fullmatch(part.value)
                ):
                    yield part.value


def anchors_of(page: Path) -> set[str]:
    """The fragments of a page's headings, as forges make them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    plain = [re.sub(r"[`*]", "", heading).lower() for heading in _HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_every_setting_is_documented_with_its_environment_variable() -> None:
    page = text_of("settings.md")
    missing = [
        name
        for name in Settings.__struct_fields__
        if not re.search(rf"^\| `{name}` \| `{PREFIX}{name.upper()}` \|", page, re.MULTILINE)
    ]
    assert missing == []


def test_no_documented_setting_is_unknown() -> None:
    known = {PREFIX + name.upper() for name in Settings.__struct_fields__}
    named = {
        (page.name, found) for page in PAGES for found in re.findall(r"\bBF_[A-Z0-9_]+\b", page.read_text())
    }
    streams = {"BF_OCPP"}
    tool = {ADMIN, TOKEN_FILE, CA_FILE}
    assert {pair for pair in named if pair[1] not in known | streams | tool} == set()


@pytest.mark.parametrize("name", subcommands())
def test_every_subcommand_is_shown_in_use(name: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert f"run.py {name}" in pages


def test_no_documented_subcommand_is_unknown() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"run\.py ([a-z][a-z-]*)", pages)) <= {*subcommands(), "is"}


def test_the_metrics_page_names_every_metric_and_no_other() -> None:
    documented = {name for name in rows_of("metrics.md") if re.fullmatch(r"bf_[a-z_]+", name)}
    assert documented == {spec.name for spec in METRICS}


@pytest.mark.parametrize("spec", METRICS, ids=lambda spec: spec.name)
def test_a_metrics_kind_and_labels_are_documented(spec: MetricSpec) -> None:
    labels = ", ".join(spec.labels)
    row = rf"^\| `{spec.name}` \| {spec.kind} \| {labels} ?\|"
    assert re.search(row, text_of("metrics.md"), re.MULTILINE), f"{spec.name}: {spec.help}"


def test_every_policy_field_is_documented() -> None:
    assert set(Policy.__struct_fields__) <= rows_of("api.md")


def test_every_reason_code_of_the_core_has_a_row_in_the_runbook() -> None:
    documented = rows_of("operations.md") | set(re.findall(r"`([^`\n]+)`", text_of("operations.md")))
    missing: set[tuple[str, str]] = set()
    for module in sorted((ROOT / "bfactors").rglob("*.py")):
        for code in codes_in(module.read_text(encoding="utf-8")):
            wanted = f"<kind>{code}" if code.startswith("-") else code
            if wanted not in documented:
                missing.add((str(module.relative_to(ROOT)), wanted))
    assert missing == set()


def test_the_search_for_codes_finds_them() -> None:
    source = """
draft.fail(job, job.reason_code or "install-failed", "words with spaces")
draft.stage(job, "held", reason=("paused", held[1]))
draft.retry(job, f"{kind}-refused", "words")
Refusal("charger-exists", "words", "charger_id", 409)
"""
    assert set(codes_in(source)) == {"install-failed", "paused", "-refused", "charger-exists"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, fragment = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        is_inside = place.is_relative_to(ROOT)
        if (
            not is_inside
            or not place.exists()
            or (fragment and (place.is_dir() or fragment not in anchors_of(place)))
        ):
            broken.append(target)
    assert broken == []


def test_every_decision_is_in_the_list_and_has_its_parts() -> None:
    listed = text_of("decision/README.md")
    for record in sorted((DOCS / "decision").glob("[0-9]*.md")):
        text = record.read_text(encoding="utf-8")
        assert f"({record.name})" in listed
        assert "\nStatus: " in text
        for part in ("Context", "Decision", "Consequences", "Alternatives"):
            assert f"\n## {part}\n" in text, f"{record.name} lacks {part}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_path_of_somebodys_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(?:root|home|work|Users)/", page.read_text(encoding="utf-8"))
