"""Whether another server certificate may take the place of the one chargers are shown, and who it would strand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.event import Anchor
from bfactors.fleet.state import Bundle
from bfactors.server_certificate import (
    Forecast,
    Holders,
    ServerCertificate,
    anchor_of,
    covering,
    described,
    forecast,
    holders_of,
    switch_problem,
)
from bfactors.x509 import parse_certificates
from tests.core.x509_maker import NOW, Authority

OLD, NEW = Authority.root("Old root"), Authority.root("New root")


def chain(root: Authority = OLD, **fields: object):  # type: ignore[no-untyped-def]
    return parse_certificates(
        root.sub().leaf("localhost", usage="server", dns_name="localhost", **fields).chain_pem
    )  # type: ignore[arg-type]


def shown(root: Authority = OLD, **fields: object) -> ServerCertificate:
    return described(chain(root, **fields), "made")


def bundles(*anchors: Sequence[Authority], purpose: str = "backend_server") -> list[Bundle]:
    """One bundle for each set of anchors, oldest first."""
    return [
        Bundle(
            bundle_id=f"bundle-{at}",
            purpose=purpose,
            version=at,
            anchors=tuple(anchor(root) for root in roots),
            note="",
            created_at=NOW,
        )
        for at, roots in enumerate(anchors, 1)
    ]


def anchor(root: Authority) -> Anchor:
    parsed = parse_certificates(root.pair.pem)[0]
    return Anchor(
        fingerprint_sha256=parsed.fingerprint_sha256,
        subject=parsed.subject,
        not_after=parsed.not_after,
        pem=root.pair.pem,
        hash_data=(),
    )


def fleet(total: int, stranded: int, known: tuple[str, ...] = ("bundle-1",)) -> Forecast:
    holders = [Holders(family="f", cohort="c", by_rung={"listed": total - stranded, None: stranded})]
    return forecast(holders, lambda _: "listed", known)


# ---------------------------------------------------------------- which bundles verify a chain


def test_a_chain_is_covered_by_every_bundle_that_holds_its_root_whenever_it_was_made() -> None:
    history = bundles([OLD], [OLD, NEW], [NEW])
    assert covering(history, chain(OLD)) == ("bundle-1", "bundle-2")
    assert covering(history, chain(NEW)) == ("bundle-2", "bundle-3")


def test_a_bundle_of_another_purpose_covers_no_server_certificate() -> None:
    assert covering(bundles([OLD], purpose="charging_station"), chain(OLD)) == ()


def test_a_root_of_the_same_name_with_another_key_covers_nothing() -> None:
    assert covering(bundles([Authority.root("Old root")]), chain(OLD)) == ()


def test_the_ca_that_is_to_sign_is_covered_like_what_it_will_sign() -> None:
    sub = parse_certificates(NEW.sub().pair.pem)
    assert covering(bundles([OLD], [NEW]), sub) == ("bundle-2",)


def test_a_chain_that_brings_its_root_along_is_covered_by_it() -> None:
    whole = (*chain(OLD), *parse_certificates(OLD.pair.pem))
    assert covering(bundles([OLD]), whole) == ("bundle-1",)


# ---------------------------------------------------------------- who would be stranded


def row(family: str, rung: str | None, count: int, *examples: str, **more: Any) -> dict[str, Any]:
    plain = {"cannot_list": False, "apart": None, "cohort": "x"}
    return plain | {"family": family, "rung": rung, "count": count, "examples": list(examples)} | more


def test_groups_with_policies_of_their_own_are_told_as_one() -> None:
    rows = [
        row("a", "accepted", 3, "CP-1"),
        row("a", "accepted", 4, "CP-4", cannot_list=True),
        row("a", "accepted", 1, "CP-8", apart="CP-8"),
        row("a", None, 1, "CP-9", apart="CP-9"),
    ]

    def lowest(each: Holders) -> str:
        return "accepted" if each.cannot_list or each.charger_id else "listed"

    (group,) = forecast(holders_of(rows), lowest, ()).groups
    assert (group.total, group.stranded, group.examples) == (9, 4, ("CP-9",))


def test_chargers_are_stranded_below_the_rung_that_policy_lets_count_for_them() -> None:
    rows = [
        row("a", None, 2, "CP-1", "CP-2"),
        row("a", "accepted", 3, "CP-3"),
        row("a", "listed", 5, "CP-6"),
        row("b", "accepted", 7, "CP-9"),
    ]
    said = forecast(
        holders_of(rows), lambda each: "accepted" if each.family == "b" else "listed", ("bundle-1",)
    )
    assert (said.total, said.stranded) == (17, 5)
    (group,) = said.groups
    assert (group.family, group.total, group.stranded, group.examples) == ("a", 10, 5, ("CP-1", "CP-2"))


@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xy")),
        st.dictionaries(
            st.sampled_from([None, "accepted", "used", "listed"]), st.integers(1, 50), min_size=1
        ),
    ),
    st.sampled_from(["accepted", "used", "listed"]),
)
def test_nobody_is_counted_twice_or_left_out_and_a_lower_rung_strands_no_more(
    groups: dict[tuple[str, str], dict[str | None, int]], rung: str
) -> None:
    holders = [Holders(family=f, cohort=c, by_rung=by_rung) for (f, c), by_rung in groups.items()]
    said = forecast(holders, lambda _: rung, ())
    assert said.total == sum(sum(by_rung.values()) for by_rung in groups.values())
    assert said.stranded == sum(group.stranded for group in said.groups) <= said.total
    assert said.stranded <= forecast(holders, lambda _: "listed", ()).stranded
    assert said.stranded >= sum(by_rung.get(None, 0) for by_rung in groups.values())


# ---------------------------------------------------------------- the gate


@pytest.mark.parametrize(
    ("known", "code"),
    [
        (fleet(10, 0), None),
        (fleet(10, 1), "server-issuer-not-confirmed"),
        (fleet(10, 10, ()), "server-issuer-in-no-bundle"),
        (fleet(0, 0, ()), None),
        (None, "server-issuer-unknown-here"),
    ],
    ids=["all confirmed", "one has not", "nobody could", "an empty fleet", "nobody to ask"],
)
def test_another_issuer_waits_for_the_whole_fleet(known: Forecast | None, code: str | None) -> None:
    problem = switch_problem([shown(OLD)], shown(NEW), known, NOW)
    assert (problem.code if problem else None) == code


def test_a_renewal_under_the_same_anchor_asks_nobody() -> None:
    sub = OLD.sub()
    first, second = (
        described(parse_certificates(sub.leaf("localhost", usage="server").chain_pem), "made")
        for _ in range(2)
    )
    assert first.fingerprint_sha256 != second.fingerprint_sha256
    assert switch_problem([first], second, None, NOW) is None
    assert switch_problem([first], second, fleet(10, 10), NOW) is None


def test_what_has_ended_protects_nobody() -> None:
    ended = shown(OLD, not_after=NOW - timedelta(days=1))
    assert switch_problem([ended], shown(NEW), fleet(10, 10), NOW) is None
    assert switch_problem([ended, shown(OLD)], shown(NEW), fleet(10, 10), NOW) is not None


def test_a_certificate_that_has_ended_itself_is_never_presented() -> None:
    candidate = shown(OLD, not_after=NOW - timedelta(days=1))
    problem = switch_problem([], candidate, fleet(0, 0), NOW)
    assert problem is not None
    assert problem.code == "server-certificate-ended"


def test_the_first_certificate_needs_no_gate() -> None:
    assert switch_problem([], shown(NEW), fleet(10, 10), NOW) is None


def test_the_refusal_names_the_worst_groups() -> None:
    holders = [Holders(family=f"f{n}", cohort="c", by_rung={None: n + 1}) for n in range(7)]
    problem = switch_problem([shown(OLD)], shown(NEW), forecast(holders, lambda _: "listed", ("b",)), NOW)
    assert problem is not None
    assert "28 of 28 chargers" in problem.message
    assert "f6/c: 7, f5/c: 6" in problem.message
    assert "and 2 more groups" in problem.message


def test_an_anchor_without_a_key_id_is_known_by_no_name_alone() -> None:
    """Two roots of one name: what is not told apart by its key must not pass as the same."""
    twin = Authority.root("Old root")
    assert anchor_of(chain(OLD)) != anchor_of(chain(twin))


def test_names_and_dates_are_the_leafs() -> None:
    one = shown(OLD)
    assert one.names == ("localhost",)
    assert one.not_after > datetime(2026, 6, 1, tzinfo=UTC)
    assert one.source == "made"
