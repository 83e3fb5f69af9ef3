"""What we issued, what the charger lists and what was seen in handshakes, put side by side.

One pass over each account, by dictionaries: a list of 2,000 entries is no more work an entry than one of two.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from bfactors.certificate_hash import Reading, ReportedCertificate
from bfactors.inventory.held import Held, merged
from bfactors.inventory.match import Matcher, MatchKind
from bfactors.inventory.row import Difference, Reconciliation, Row, SeenCredential
from bfactors.inventory.store import FIRMWARE_STORE, ROOT_STORES, SERVER_STORE, Store, store_of

_SUREST_FIRST: tuple[MatchKind, ...] = ("exact", "format", "spki-hash", "other-issuer", "serial-and-issuer")
_UNCERTAIN = ("other-issuer", "serial-and-issuer")


def reconcile(
    held: Iterable[Held],
    reported: Sequence[ReportedCertificate] | None,
    seen: Iterable[SeenCredential] = (),
    *,
    asked: Iterable[str] | None = None,
) -> Reconciliation:
    """One row for each certificate. The order of the charger's list and of what was seen does not matter.

    `reported` is None if the charger was never asked. `asked`: the uses it was asked for, None for all; only what was asked
    for can be missing.
    """
    ours = merged(held)
    matcher = Matcher(ours)
    listed: dict[str, list[tuple[ReportedCertificate, MatchKind]]] = {}
    strangers: dict[Reading, list[ReportedCertificate]] = {}
    for entry in reported or ():
        readings = entry.hash_data.readings()
        found = matcher.find(entry.hash_data, readings)
        if found is None:
            strangers.setdefault(readings[0], []).append(entry)
        else:
            listed.setdefault(found[0].fingerprint_sha256, []).append((entry, found[1]))
    latest = _latest(seen)
    stores = None if asked is None else frozenset(map(store_of, asked))
    twins = matcher.twins()
    rows = [
        _ours(
            one,
            listed.get(one.fingerprint_sha256, []),
            latest.pop(one.fingerprint_sha256, None),
            matcher,
            is_missing=reported is not None and _was_asked_for(one, stores),
            twin=twins.get(one.fingerprint_sha256),
        )
        for one in ours
    ]
    rows += [_stranger(reading, entries, matcher) for reading, entries in sorted(strangers.items())]
    rows += [
        Row(
            seen=credential,
            differences=(
                Difference(
                    "seen-unknown",
                    "a session was opened with a leaf that is not in the inventory: adopt it as tracked, or find out "
                    "who issued it",
                ),
            ),
            is_adoptable=True,
        )
        for _, credential in sorted(latest.items())
    ]
    return Reconciliation(tuple(rows))


def _latest(seen: Iterable[SeenCredential]) -> dict[str, SeenCredential]:
    latest: dict[str, SeenCredential] = {}
    for credential in seen:
        known = latest.get(credential.fingerprint_sha256)
        if known is None or known.at < credential.at:
            latest[credential.fingerprint_sha256] = credential
    return latest


def _was_asked_for(one: Held, stores: frozenset[Store] | None) -> bool:
    return one.is_listable and (stores is None or not one.stores or not one.stores.isdisjoint(stores))


def _in_order(entries: Sequence[ReportedCertificate]) -> tuple[ReportedCertificate, ...]:
    if len(entries) == 1:
        return (entries[0],)
    return tuple(sorted(entries, key=lambda one: (one.use, one.hash_data.folded(), repr(one))))


def _ours(
    one: Held,
    listed: Sequence[tuple[ReportedCertificate, MatchKind]],
    seen: SeenCredential | None,
    matcher: Matcher,
    *,
    is_missing: bool,
    twin: Held | None,
) -> Row:
    if not listed:
        return Row(held=one, seen=seen, differences=_unlisted(one, twin, is_missing=is_missing))
    entries = _in_order([entry for entry, _ in listed])
    match = min((kind for _, kind in listed), key=_SUREST_FIRST.index)
    differences = [
        *_retired(one),
        *_misplaced(one, entries),
        *_repeated(entries),
        *_chain(one, entries, matcher),
    ]
    if match in _UNCERTAIN:
        differences.append(
            Difference(
                "uncertain-match",
                "the charger hashes another issuer than the certificate's: recognised by its serial number; "
                "see what its firmware makes of hash data",
            )
        )
    return Row(held=one, reported=entries, seen=seen, match=match, differences=tuple(differences))


def _unlisted(one: Held, twin: Held | None, *, is_missing: bool) -> tuple[Difference, ...]:
    if twin is not None:
        return (
            Difference(
                "indistinguishable",
                f"has name, key and serial number of {twin.fingerprint_sha256[:16]} too: a list cannot tell which is there",
            ),
        )
    if not (is_missing and one.is_installed):
        return ()
    remedy = "install it again" if one.kind == "anchor" else "renew it, or have the charger list again"
    return (Difference("not-reported", f"believed installed, but the charger does not list it: {remedy}"),)


def _retired(one: Held) -> Iterable[Difference]:
    if one.is_retired:
        yield Difference(
            "retired-still-listed", f"{one.state}, but still on the charger: delete it when nothing needs it"
        )


def _misplaced(one: Held, entries: Sequence[ReportedCertificate]) -> Iterable[Difference]:
    wrong = sorted({e.use for e in entries if store_of(e.use) not in one.stores | {"other"}})
    if one.stores and wrong:
        kept = " or ".join(sorted(one.stores))
        yield Difference(
            "wrong-use",
            f"listed as {', '.join(wrong)}, belongs in {kept}: install it there",
        )


def _repeated(entries: Sequence[ReportedCertificate]) -> Iterable[Difference]:
    if len(entries) == 1:
        return
    often = sorted(use for use, count in Counter(entry.use for entry in entries).items() if count > 1)
    if often:
        yield Difference(
            "duplicate-listing",
            f"listed more than once as {', '.join(often)}: it takes up room in the charger's store",
        )


def _chain(one: Held, entries: Sequence[ReportedCertificate], matcher: Matcher) -> Iterable[Difference]:
    """Whether the issuers listed with a leaf are those it was delivered with; their order does not count."""
    chains = [entry for entry in entries if store_of(entry.use) == "v2g-chain"]
    if one.kind != "leaf" or not chains:
        return
    ours = matcher.issuing_chain(one)
    for entry in chains:
        found = [{(r[0], r[1], r[3]) for r in child.readings()} for child in entry.child_hash_data]
        algorithms = {reading[0] for child in entry.child_hash_data for reading in child.readings()}
        wanted = {key for key in ours if key[0] in (algorithms or {entry.hash_data.folded()[0]})}
        unknown = sum(1 for keys in found if keys.isdisjoint(ours))
        missing = sum(1 for key in wanted if not any(key in keys for keys in found))
        if unknown or missing:
            yield Difference(
                "child-chain-differs",
                f"of the issuers delivered with it {missing} are not listed, and {unknown} listed were not delivered: "
                "cars may not verify it; deliver it again",
            )
            return


def _stranger(reading: Reading, entries: Sequence[ReportedCertificate], matcher: Matcher) -> Row:
    kept = _in_order(entries)
    stores = {store_of(entry.use) for entry in kept}
    differences = list(_repeated(kept))
    # Firmware trust is nobody's business here: shown, neither flagged nor adopted.
    is_ours_to_judge = stores != {FIRMWARE_STORE}
    if is_ours_to_judge:
        differences.insert(
            0,
            Difference(
                "unknown-on-charger",
                "the charger lists it and we never installed it: adopt it as tracked, or delete it",
            ),
        )
    if SERVER_STORE in stores:
        differences.append(
            Difference("foreign-root", "the charger trusts any back end whose certificate chains to it")
        )
    if stores & ROOT_STORES and (alike := matcher.look_alike(reading)) is not None:
        differences.append(
            Difference(
                "look-alike",
                f"has name and serial number of our {alike.subject[:96]!r}, but another key: find out who installed it",
            )
        )
    return Row(reported=kept, differences=tuple(differences), is_adoptable=is_ours_to_judge)
