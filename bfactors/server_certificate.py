"""The central system's own certificates: what they say, who would still trust us under another issuer, and whether to switch.

A charger trusts a server certificate when its confirmed bundle holds the anchor above it. Switching before that strands it:
it cannot connect, so nothing can be sent to it any more. Source: A00.FR.510; peers' outages (facts/peers.md, 2.28 and 3.20).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bfactors.fleet.state import Bundle
from bfactors.purpose import session_purpose
from bfactors.refusal import Refusal
from bfactors.x509 import Certificate, issuer_within, parse_certificates

FIRST_TLS_PROFILE = 2
"""Chargers below it see no server certificate, so none can strand them."""

_Alike = tuple[str, str, bool, str]
_RUNGS = {"accepted": 0, "used": 1, "listed": 2}
_NAMED = 5
_FINGERPRINT_CHARS = 64
"""Longer than any key id: where one stands, the certificates named no key."""


class ServerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate we present. `anchor`: name and key id of what signed the topmost of its chain."""

    fingerprint_sha256: str
    serial_number: str
    subject: str
    names: tuple[str, ...]
    issuer: str
    key_algorithm: str
    not_before: datetime
    not_after: datetime
    anchor: str
    source: str
    """`settings`, `made` by our own CA, or `acm`."""


class NotPresented(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that is there and is not shown to chargers, and why."""

    certificate: ServerCertificate
    code: str
    message: str
    since: datetime


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """What one node shows chargers, and what it has but keeps back."""

    certificates: tuple[ServerCertificate, ...] = ()
    kept_back: tuple[NotPresented, ...] = ()


class Holders(msgspec.Struct, frozen=True, kw_only=True):
    """Chargers for which one policy holds, by how surely they hold an anchor. `examples`: some of those that do not at all.

    They are of one family and cohort, and list their certificates or cannot; or the one charger that is named.
    """

    family: str
    cohort: str
    cannot_list: bool = False
    charger_id: str = ""
    by_rung: Mapping[str | None, int]
    examples: tuple[str, ...] = ()


class Stranded(msgspec.Struct, frozen=True, kw_only=True):
    """Chargers of one family and cohort that could not verify us."""

    family: str
    cohort: str
    total: int
    stranded: int
    examples: tuple[str, ...]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What presenting a chain would do to the fleet. `bundles`: those whose anchors verify it."""

    total: int
    stranded: int
    groups: tuple[Stranded, ...]
    bundles: tuple[str, ...]


def described(chain: Sequence[Certificate], source: str) -> ServerCertificate:
    """A chain, leaf first, as people are shown it."""
    leaf = chain[0]
    return ServerCertificate(
        fingerprint_sha256=leaf.fingerprint_sha256,
        serial_number=leaf.serial_number,
        subject=leaf.subject,
        names=leaf.dns_names,
        issuer=leaf.issuer,
        key_algorithm=leaf.key_algorithm,
        not_before=leaf.not_before,
        not_after=leaf.not_after,
        anchor=anchor_of(chain),
        source=source,
    )


def hangs_on(anchor: str, root: Certificate) -> bool:
    """Whether what `anchor_of` called a chain's anchor is that root; a chain that names no key is told by the name alone."""
    if anchor == anchor_of([root]):
        return True
    name, _, key = anchor.rpartition("|")
    return name == root.subject and len(key) == _FINGERPRINT_CHARS


def anchor_of(chain: Sequence[Certificate]) -> str:
    """What the chain hangs on, as far as it says itself: a renewal under the same one changes nothing for a charger."""
    top = chain[-1]
    if top.self_issued and top.subject_key_id:
        return f"{top.subject}|{top.subject_key_id}"
    if not top.self_issued and top.authority_key_id:
        return f"{top.issuer}|{top.authority_key_id}"
    # A name alone names no key. What cannot be told apart by its key counts as another anchor whenever it changes.
    return f"{top.issuer}|{top.fingerprint_sha256}"


def bundle_purpose() -> str:
    """The purpose whose bundle chargers verify us with: the one that leaves of their sessions depend on."""
    purpose = session_purpose().anchor_bundle
    assert (
        purpose is not None
    )  # a charger that verifies nobody needs no gate; its purpose's file says which bundle
    return purpose


def covering(history: Iterable[Bundle], chain: Sequence[Certificate]) -> tuple[str, ...]:
    """The bundles with an anchor that verifies this chain: one that signed its topmost certificate, or is in it."""
    purpose = bundle_purpose()
    within = {certificate.fingerprint_sha256 for certificate in chain[1:]}
    found = []
    for bundle in history:
        if bundle.purpose != purpose:
            continue
        anchors = [parse_certificates(anchor.pem)[0] for anchor in bundle.anchors]
        if any(anchor.fingerprint_sha256 in within for anchor in anchors) or issuer_within(
            chain[-1], anchors
        ):
            found.append(bundle.bundle_id)
    return tuple(found)


def holders_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Holders, ...]:
    """From the reader's rows of `family, cohort, cannot_list, apart, rung, count, examples`."""
    groups: dict[_Alike, dict[str | None, int]] = {}
    examples: dict[_Alike, tuple[str, ...]] = {}
    for row in rows:
        key = (row["family"], row["cohort"], row["cannot_list"], row["apart"] or "")
        groups.setdefault(key, {})[row["rung"]] = row["count"]
        if row["rung"] is None:
            examples[key] = tuple(row["examples"])
    return tuple(
        Holders(
            family=key[0],
            cohort=key[1],
            cannot_list=key[2],
            charger_id=key[3],
            by_rung=by_rung,
            examples=examples.get(key, ()),
        )
        for key, by_rung in sorted(groups.items())
    )


def forecast(
    holders: Iterable[Holders], lowest_rung: Callable[[Holders], str], bundles: tuple[str, ...]
) -> Forecast:
    """`lowest_rung`: the lowest that policy lets count for these chargers."""
    told: dict[tuple[str, str], Stranded] = {}
    for group in holders:
        lowest = _RUNGS[lowest_rung(group)]
        everybody = sum(group.by_rung.values())
        trusting = sum(n for rung, n in group.by_rung.items() if rung is not None and _RUNGS[rung] >= lowest)
        key = (group.family, group.cohort)
        before = told.get(key) or Stranded(
            family=group.family, cohort=group.cohort, total=0, stranded=0, examples=()
        )
        told[key] = Stranded(
            family=group.family,
            cohort=group.cohort,
            total=before.total + everybody,
            stranded=before.stranded + everybody - trusting,
            examples=(*before.examples, *group.examples)[:_NAMED],
        )
    stranded = tuple(group for group in told.values() if group.stranded)
    return Forecast(
        total=sum(group.total for group in told.values()),
        stranded=sum(group.stranded for group in stranded),
        groups=stranded,
        bundles=bundles,
    )


def switch_problem(
    shown: Sequence[ServerCertificate], candidate: ServerCertificate, fleet: Forecast | None, now: datetime
) -> Refusal | None:
    """Why this certificate must not take the place of what is shown now; None if it may.

    `fleet` None: nobody here knows what the fleet holds. What has ended protects nobody, so it may always be replaced.
    """
    if candidate.not_after <= now:
        return Refusal("server-certificate-ended", f"it ended {candidate.not_after:%Y-%m-%d %H:%M} UTC")
    standing = [each for each in shown if each.not_after > now]
    if not standing or candidate.anchor in {each.anchor for each in standing}:
        return None
    if fleet is None:
        return Refusal(
            "server-issuer-unknown-here",
            f"{candidate.issuer} is another issuer than chargers are shown now, and this process cannot ask what they"
            " trust: look at the forecast of core, then restart this node to present it",
            status=409,
        )
    if not fleet.stranded:
        return None
    if not fleet.bundles:
        return Refusal(
            "server-issuer-in-no-bundle",
            f"no trust anchor bundle holds the anchor above {candidate.issuer}: release one with the old and the new"
            f" anchor first; {fleet.total} chargers would be stranded",
            status=409,
        )
    return Refusal(
        "server-issuer-not-confirmed",
        f"{fleet.stranded} of {fleet.total} chargers have not confirmed the anchor above {candidate.issuer}"
        f" ({_where(fleet)})",
        status=409,
    )


def _where(fleet: Forecast) -> str:
    worst = sorted(fleet.groups, key=lambda group: -group.stranded)
    named = ", ".join(f"{each.family}/{each.cohort}: {each.stranded}" for each in worst[:_NAMED])
    return named + (f" and {len(worst) - _NAMED} more groups" if len(worst) > _NAMED else "")
