"""Where a policy's values apply: a purpose, a charger family in it, a cohort in it; the later of these the stronger.

A scope is written `purpose:<purpose>`, `family:<family>/<purpose>` or `cohort:<cohort>/<purpose>`. Names of families and
cohorts may hold slashes and colons themselves: the kind ends at the first colon, the purpose begins at the last slash.
"""

from typing import Literal, get_args

import msgspec

ScopeKind = Literal["purpose", "family", "cohort"]
KINDS: tuple[ScopeKind, ...] = get_args(ScopeKind)
FORMS = "purpose:<purpose>, family:<family>/<purpose> or cohort:<cohort>/<purpose>"


class Scope(msgspec.Struct, frozen=True):
    """One scope, taken apart. `name` is the family's or cohort's; empty for a whole purpose."""

    kind: ScopeKind
    name: str
    purpose: str


def parse_scope(text: str) -> Scope | None:
    """A scope as the API and the settings write it; None if it is none. Whether the purpose exists is not looked at."""
    kind, _, rest = text.partition(":")
    if kind == "purpose":
        return Scope("purpose", "", rest) if rest else None
    name, _, purpose = rest.rpartition("/")
    if kind not in ("family", "cohort") or not name or not purpose:
        return None
    return Scope("family" if kind == "family" else "cohort", name, purpose)


def scopes_of(*, purpose: str, family: str, cohort: str) -> tuple[str, ...]:
    """The scopes that reach a charger of this family and cohort, the stronger one last."""
    return (f"purpose:{purpose}", f"family:{family}/{purpose}", f"cohort:{cohort}/{purpose}")
