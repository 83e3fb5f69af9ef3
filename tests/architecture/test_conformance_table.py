"""The conformance page says what the tests say."""

from pathlib import Path

from tests.conformance.table import missing, page

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def test_every_case_of_the_security_profiles_has_a_test_of_its_name() -> None:
    assert missing() == []


def test_the_conformance_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "python -m tests.conformance.table > docs/conformance.md"
    )
