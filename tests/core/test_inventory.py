"""What was issued, what a charger lists and what was seen, side by side; and what of it may be deleted."""

from __future__ import annotations

import base64
from datetime import timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.charger.state import BundleConfirmation, CertificateRecord, ChargerState
from bfactors.event import Anchor
from bfactors.fleet.state import Bundle
from bfactors.inventory.deletion import deletion_problem
from bfactors.inventory.held import Held, held_anchors, held_by, held_leaf
from bfactors.inventory.reconciliation import reconcile
from bfactors.inventory.row import Reconciliation, Row, SeenCredential
from bfactors.inventory.store import leaf_stores, store_of
from bfactors.x509 import HashName, certificate_of, hash_data, hash_data_over_spki
from tests.core.x509_maker import NOW, Authority, Pair, new_key

ALGORITHMS: tuple[HashName, ...] = ("SHA256", "SHA384", "SHA512")
CSMS, V2G, CHAIN, MAKER = (
    "CSMSRootCertificate",
    "V2GRootCertificate",
    "V2GCertificateChain",
    "ManufacturerRootCertificate",
)

ROOT_A, ROOT_B, FOREIGN = Authority.root("Root A"), Authority.root("Root B"), Authority.root("Foreign")
UPPER = ROOT_A.sub("Upper CA")
LOWER = UPPER.sub("Lower CA")
STATION = ROOT_A.leaf("SN-1")
SECC = LOWER.leaf("NOBFXS0001")


def twin_of(authority: Authority, *, same_key: bool = False) -> Authority:
    """A root of the same name and serial number, by another key unless asked otherwise."""
    made = authority.pair.certificate
    key = authority.pair.key if same_key else new_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.subject)
        .public_key(key.public_key())
        .serial_number(made.serial_number)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return Authority(Pair(certificate, key), True)


def anchor_of(authority: Authority) -> Anchor:
    certificate = certificate_of(authority.pair.der)
    return Anchor(
        fingerprint_sha256=certificate.fingerprint_sha256,
        subject=certificate.subject,
        not_after=certificate.not_after,
        pem=authority.pair.pem,
        hash_data=tuple(hash_data(certificate, certificate, name) for name in ALGORITHMS),
    )


def bundle(*authorities: Authority, bundle_id: str = "bundle-1") -> Bundle:
    return Bundle(
        bundle_id=bundle_id,
        purpose="backend_server",
        version=1,
        anchors=tuple(map(anchor_of, authorities)),
        note="",
        created_at=NOW,
    )


def anchors(*authorities: Authority, current: bool = True, installed: bool = True) -> tuple[Held, ...]:
    held = bundle(*authorities)
    everything = frozenset(anchor.fingerprint_sha256 for anchor in held.anchors)
    return held_anchors(held, is_current=current, installed=everything if installed else frozenset())


def record_of(pair: Pair, state: str = "active", chain_pem: str | None = None) -> CertificateRecord:
    certificate = certificate_of(pair.der)
    return CertificateRecord(
        certificate_id=f"cert-{certificate.serial_number[:6]}",
        purpose="charging_station",
        variant="default",
        state=state,
        fingerprint_sha256=certificate.fingerprint_sha256,
        serial_number=certificate.serial_number,
        subject=certificate.subject,
        issuer=certificate.issuer,
        issuing_ca_id="ca-1",
        external_ref="arn",
        spki_sha256=certificate.spki_sha256,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        chain_pem=chain_pem or pair.chain_pem,
        issued_at=NOW,
    )


def secc(state: str = "active", pair: Pair = SECC, chain_pem: str | None = None) -> Held:
    """A leaf of ISO 15118, which no purpose file brings yet: what one would say is said here."""
    return msgspec.structs.replace(
        held_leaf(record_of(pair, state, chain_pem)),
        stores=leaf_stores("iso15118"),
        is_listable=True,
        is_session_credential=False,
        is_installed=state == "active",
        is_retired=state in ("superseded", "revoked"),
    )


def name_of(authority: Authority, algorithm: HashName = "SHA256") -> HashData:
    certificate = certificate_of(authority.pair.der)
    return hash_data(certificate, certificate, algorithm)


def leaf_name(pair: Pair, issuer: Authority, algorithm: HashName = "SHA256") -> HashData:
    return hash_data(certificate_of(pair.der), certificate_of(issuer.pair.der), algorithm)


def listing(data: HashData, use: str = CSMS, *children: HashData) -> ReportedCertificate:
    return ReportedCertificate(use, data, children)


def chain_listing(algorithm: HashName = "SHA256") -> ReportedCertificate:
    lower, upper = leaf_name(LOWER.pair, UPPER, algorithm), leaf_name(UPPER.pair, ROOT_A, algorithm)
    return listing(leaf_name(SECC, LOWER, algorithm), CHAIN, lower, upper)


def codes(row: Row) -> list[str]:
    return [difference.code for difference in row.differences]


def only(reconciliation: Reconciliation) -> Row:
    (row,) = reconciliation.rows
    return row


# ---------------------------------------------------------------- how a listing is recognised

ROOT_DATA = name_of(ROOT_A)
CERTIFICATE_A = certificate_of(ROOT_A.pair.der)


def as_base64(data: HashData) -> HashData:
    def encoded(text: str) -> str:
        return base64.urlsafe_b64encode(bytes.fromhex(text)).decode()

    return HashData(
        data.algorithm,
        encoded(data.issuer_name_hash),
        encoded(data.issuer_key_hash),
        str(int(data.serial_number, 16)),
    )


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (ROOT_DATA, "exact"),
        (name_of(ROOT_A, "SHA384"), "exact"),
        (name_of(ROOT_A, "SHA512"), "exact"),
        (HashData(*(field.upper() for field in msgspec.structs.astuple(ROOT_DATA))), "format"),
        (msgspec.structs.replace(ROOT_DATA, serial_number="0x00" + ROOT_DATA.serial_number), "format"),
        (msgspec.structs.replace(ROOT_DATA, serial_number=str(int(ROOT_DATA.serial_number, 16))), "format"),
        (as_base64(ROOT_DATA), "format"),
        (as_base64(name_of(ROOT_A, "SHA512")), "format"),
        (hash_data_over_spki(CERTIFICATE_A, CERTIFICATE_A), "spki-hash"),
        (as_base64(hash_data_over_spki(CERTIFICATE_A, CERTIFICATE_A, "SHA384")), "spki-hash"),
    ],
)
def test_an_anchor_is_recognised_however_it_is_listed(data: HashData, match: str) -> None:
    row = only(reconcile(anchors(ROOT_A), [listing(data)]))
    assert (row.match, codes(row), row.sources) == (match, [], ("issued", "reported"))
    assert row.reported == (listing(data),), "verbatim, for a deletion to echo"


@pytest.mark.parametrize(
    ("data", "match", "expected"),
    [
        (leaf_name(SECC, LOWER), "exact", []),
        (hash_data_over_spki(certificate_of(SECC.der), certificate_of(LOWER.pair.der)), "spki-hash", []),
        (
            hash_data(certificate_of(SECC.der), certificate_of(ROOT_A.pair.der)),
            "other-issuer",
            ["uncertain-match"],
        ),
        (hash_data(certificate_of(SECC.der), certificate_of(SECC.der)), "other-issuer", ["uncertain-match"]),
        (
            msgspec.structs.replace(leaf_name(SECC, LOWER), issuer_key_hash="00" * 32),
            "serial-and-issuer",
            ["uncertain-match"],
        ),
    ],
)
def test_a_leaf_is_recognised_even_under_the_wrong_issuer(
    data: HashData, match: str, expected: list[str]
) -> None:
    entry = msgspec.structs.replace(chain_listing(), hash_data=data)
    rows = reconcile((secc(), *anchors(ROOT_A, installed=False)), [entry]).rows
    assert (rows[0].match, codes(rows[0])) == (match, expected)
    assert len(rows) == 2


def test_a_leaf_right_under_a_root_is_recognised_by_the_anchor_that_made_it() -> None:
    pair = ROOT_A.leaf("NOBFXS0002")
    assert pair.chain == ()
    entry = listing(leaf_name(pair, ROOT_A), CHAIN)
    with_anchor = reconcile((secc(pair=pair), *anchors(ROOT_A, installed=False)), [entry]).rows
    assert (with_anchor[0].match, codes(with_anchor[0])) == ("exact", [])
    without = reconcile((secc(pair=pair),), [entry]).rows
    assert [row.match for row in without] == ["serial-and-issuer"]


def test_of_two_anchors_of_one_name_the_one_that_signed_is_a_leafs_issuer() -> None:
    pair = ROOT_A.leaf("NOBFXS0002")
    for roots in ((ROOT_A, twin_of(ROOT_A)), (twin_of(ROOT_A), ROOT_A)):
        held = (secc(pair=pair), *anchors(*roots, installed=False))
        assert reconcile(held, [listing(leaf_name(pair, ROOT_A), CHAIN)]).rows[0].match == "exact"


def test_no_other_root_passes_for_ours() -> None:
    alike = twin_of(ROOT_A)
    for held, listed in ((ROOT_A, alike), (alike, ROOT_A)):
        ours, stranger = reconcile(anchors(held), [listing(name_of(listed))]).rows
        assert (ours.match, codes(ours)) == (None, ["not-reported"])
        assert codes(stranger) == ["unknown-on-charger", "foreign-root", "look-alike"]
        assert stranger.is_adoptable
    over_spki = hash_data_over_spki(certificate_of(alike.pair.der), certificate_of(alike.pair.der))
    assert reconcile(anchors(ROOT_A), [listing(over_spki)]).rows[0].match is None


def test_two_of_ours_that_hash_alike_are_said_to_be() -> None:
    renewed = twin_of(ROOT_A, same_key=True)
    held = (*anchors(ROOT_A, current=False), *anchors(renewed))
    old, new = reconcile(held, [listing(ROOT_DATA)]).rows
    assert (new.match, codes(new)) == ("exact", [])
    assert (old.match, codes(old)) == (None, ["indistinguishable"])
    over_spki = hash_data_over_spki(CERTIFICATE_A, CERTIFICATE_A)
    old, new = reconcile(held, [listing(over_spki)]).rows
    assert (new.match, codes(new), old.match) == ("spki-hash", [], None)


def test_what_could_mean_two_of_our_leaves_is_taken_for_neither() -> None:
    pairs = [_with_serial(77, issuer) for issuer in (LOWER, UPPER.sub("Other CA"))]
    held = (*(secc(pair=pair) for pair in pairs), *anchors(ROOT_A, installed=False))
    under_root = hash_data(certificate_of(pairs[0].der), certificate_of(ROOT_A.pair.der))
    root_name = name_of(ROOT_A).issuer_name_hash
    entry = listing(msgspec.structs.replace(under_root, issuer_name_hash=root_name), CHAIN)
    *ours, stranger = reconcile(held, [entry]).rows
    assert [row.match for row in ours] == [None, None, None]
    assert codes(stranger) == ["unknown-on-charger"]
    alone = reconcile((held[0], held[2]), [entry]).rows
    assert [row.match for row in alone] == ["other-issuer", None]


def _with_serial(number: int, issuer: Authority) -> Pair:
    key, made = new_key(), issuer.pair.certificate
    certificate = (
        x509.CertificateBuilder()
        .subject_name(SECC.certificate.subject)
        .issuer_name(made.subject)
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=60))
        .sign(issuer.pair.key, hashes.SHA256())
    )
    return Pair(certificate, key, (made, *issuer.pair.chain))


# ---------------------------------------------------------------- differences


def test_what_agrees_differs_in_nothing() -> None:
    held = (secc(), held_leaf(record_of(STATION)), *anchors(ROOT_A, ROOT_B))
    reported = [listing(name_of(ROOT_B)), chain_listing("SHA384"), listing(ROOT_DATA)]
    found = reconcile(held, reported, [SeenCredential(STATION.fingerprint, NOW)])
    assert found.differing == ()
    assert [row.sources for row in found.rows] == [
        ("issued", "reported"),
        ("issued", "seen"),
        ("issued", "reported"),
        ("issued", "reported"),
    ]


def test_what_is_believed_installed_and_not_listed_is_said_to_be() -> None:
    def missing(held: tuple[Held, ...], *reported: ReportedCertificate, **options: object) -> list[list[str]]:
        return [codes(row) for row in reconcile(held, reported, **options).rows]  # type: ignore[arg-type]

    assert missing(anchors(ROOT_A)) == [["not-reported"]]
    assert missing((secc(),)) == [["not-reported"]]
    assert missing(anchors(ROOT_A), asked=[V2G]) == [[]], "it was not asked for"
    assert missing(anchors(ROOT_A), asked=[CSMS]) == [["not-reported"]]
    assert missing(anchors(ROOT_A, installed=False)) == [[]], "nobody believes it is there yet"
    assert missing(anchors(ROOT_A, current=False)) == [[]], "it is gone, as it should be"
    assert missing((held_leaf(record_of(STATION)),)) == [[]], "chargers do not list their own identity"
    assert [codes(row) for row in reconcile(anchors(ROOT_A), None).rows] == [[]], (
        "the charger was never asked"
    )


def test_strangers_are_shown_and_may_be_adopted() -> None:
    found = reconcile((), [listing(name_of(FOREIGN)), listing(name_of(FOREIGN), V2G)])
    row = only(found)
    assert (codes(row), row.is_adoptable) == (["unknown-on-charger", "foreign-root"], True)
    leaf = only(reconcile((), [chain_listing()]))
    assert (codes(leaf), leaf.is_adoptable) == (["unknown-on-charger"], True)


def test_firmware_roots_are_shown_and_left_alone() -> None:
    row = only(reconcile((), [listing(name_of(FOREIGN), MAKER)]))
    assert (codes(row), row.is_adoptable, row.sources) == ([], False, ("reported",))


def test_an_unknown_leaf_in_a_handshake_is_shown_with_when_it_was_last_seen() -> None:
    early, late = SeenCredential("ab" * 32, NOW), SeenCredential("ab" * 32, NOW + timedelta(hours=1))
    row = only(reconcile((), None, [late, early]))
    assert (codes(row), row.seen, row.fingerprint_sha256, row.is_adoptable) == (
        ["seen-unknown"],
        late,
        "ab" * 32,
        True,
    )


@pytest.mark.parametrize("state", ["superseded", "revoked"])
def test_what_was_retired_and_is_still_there_is_said_to_be(state: str) -> None:
    assert codes(only(reconcile((secc(state),), [chain_listing()]))) == ["retired-still-listed"]
    assert codes(only(reconcile(anchors(ROOT_A, current=False), [listing(ROOT_DATA)]))) == [
        "retired-still-listed"
    ]


def test_a_wrong_place_and_a_second_listing_are_said() -> None:
    assert codes(only(reconcile(anchors(ROOT_A), [listing(ROOT_DATA, V2G)]))) == ["wrong-use"]
    assert codes(only(reconcile(anchors(ROOT_A), [listing(ROOT_DATA), listing(ROOT_DATA, MAKER)]))) == [
        "wrong-use"
    ]
    twice = [listing(ROOT_DATA), listing(name_of(ROOT_A, "SHA512"))]
    assert codes(only(reconcile(anchors(ROOT_A), twice))) == ["duplicate-listing"]
    assert codes(only(reconcile(anchors(ROOT_A), [listing(ROOT_DATA, "CentralSystemRootCertificate")]))) == []
    assert codes(only(reconcile(anchors(ROOT_A), [listing(ROOT_DATA, "SomethingNew")]))) == []


def test_an_anchor_of_two_bundles_belongs_in_both_their_stores() -> None:
    second = tuple(
        msgspec.structs.replace(one, stores=frozenset({"v2g-root"})) for one in anchors(ROOT_A, current=False)
    )
    both = [listing(ROOT_DATA), listing(ROOT_DATA, V2G)]
    for held in ((*anchors(ROOT_A), *second), (*second, *anchors(ROOT_A))):
        row = only(reconcile(held, both))
        assert (codes(row), row.held is not None and row.held.state) == ([], "current")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_issuers_listed_with_a_leaf_are_compared_in_any_order(algorithm: HashName) -> None:
    entry = chain_listing(algorithm)
    lower, upper = entry.child_hash_data

    def said(*children: HashData) -> list[str]:
        return codes(only(reconcile((secc(),), [msgspec.structs.replace(entry, child_hash_data=children)])))

    assert said(lower, upper) == said(upper, lower) == []
    assert said(as_base64(upper), lower) == []
    assert said(lower) == said() == said(lower, upper, name_of(FOREIGN, algorithm)) == ["child-chain-differs"]
    assert said(lower, leaf_name(FOREIGN.sub().pair, FOREIGN, algorithm)) == ["child-chain-differs"]


def test_every_difference_says_what_to_do() -> None:
    held = (secc("revoked"), *anchors(ROOT_A, ROOT_B))
    reported = [chain_listing(), listing(ROOT_DATA, V2G), listing(name_of(FOREIGN))]
    found = reconcile(held, reported, [SeenCredential("ab" * 32, NOW)])
    messages = [difference.message for row in found.rows for difference in row.differences]
    assert len(messages) == len(set(messages)) == 6
    assert all(len(message) > 40 for message in messages)


def test_what_cannot_be_read_any_more_is_shown_and_matches_nothing() -> None:
    broken = secc(chain_pem="no certificate")
    ours, stranger = reconcile((broken,), [chain_listing()]).rows
    assert (ours.match, codes(ours), codes(stranger)) == (None, ["not-reported"], ["unknown-on-charger"])


# ---------------------------------------------------------------- from the ledger's state


def test_what_the_ledger_believes_is_gathered_from_its_state() -> None:
    current, past = bundle(ROOT_A, ROOT_B, bundle_id="b2"), bundle(ROOT_B, FOREIGN, bundle_id="b1")
    record = record_of(STATION)
    state = ChargerState(
        charger_id="CS-1", managed_identity_id="unit-1", serial_number="SN-1", family="f", site="s", cohort="c",
        organization=None, expected_common_name="SN-1", security_profile=3, target_security_profile=3,
        ocpp_versions=("2.0.1",), registered_at=NOW, certificates={record.certificate_id: record},
        accepted_anchors=frozenset({ROOT_A.pair.fingerprint}),
    )  # fmt: skip

    def believed(known: ChargerState) -> dict[str, tuple[str, bool]]:
        return {
            row.held.fingerprint_sha256: (row.held.state, row.held.is_installed)
            for row in reconcile(held_by(known, {"backend_server": current}, [past, current]), None).rows
            if row.held is not None
        }

    assert believed(state) == {
        STATION.fingerprint: ("active", False) if record.state != "active" else ("active", True),
        ROOT_A.pair.fingerprint: ("current", True),
        ROOT_B.pair.fingerprint: ("current", False),
        FOREIGN.pair.fingerprint: ("replaced", False),
    }
    confirmation = BundleConfirmation(bundle_id="b2", rung="listed", confirmed_at=NOW, evidence_ref="e")
    confirmed = msgspec.structs.replace(state, bundles={"backend_server": confirmation})
    assert believed(confirmed)[ROOT_B.pair.fingerprint] == ("current", True)


# ---------------------------------------------------------------- properties

ROOTS = [ROOT_A, ROOT_B, FOREIGN, twin_of(ROOT_A), twin_of(ROOT_B), Authority.root("Root A")]
LEAVES = [SECC, LOWER.leaf("NOBFXS0003"), LOWER.leaf("NOBFXS0004")]
TRUTH = {root.pair.fingerprint: (root, root) for root in ROOTS} | {
    leaf.fingerprint: (Authority(leaf, False), LOWER) for leaf in LEAVES
}


@st.composite
def account(
    draw: st.DrawFn,
) -> tuple[list[Held], list[tuple[str, ReportedCertificate]], list[SeenCredential]]:
    """Some of our certificates, some that are listed (each with whose it is), some that were seen."""
    roots = draw(st.lists(st.sampled_from(ROOTS), unique_by=id))
    leaves = draw(st.lists(st.sampled_from(LEAVES), unique_by=id))
    held = [*anchors(*roots, current=draw(st.booleans()))]
    held += [secc(draw(st.sampled_from(("active", "superseded"))), leaf) for leaf in leaves]
    listed = []
    for fingerprint in draw(st.lists(st.sampled_from(sorted(TRUTH)), max_size=10)):
        own, issuer = TRUTH[fingerprint]
        made = draw(st.sampled_from((hash_data, hash_data_over_spki)))
        data = made(
            certificate_of(own.pair.der), certificate_of(issuer.pair.der), draw(st.sampled_from(ALGORITHMS))
        )
        data = draw(
            st.sampled_from((data, as_base64(data), HashData(*map(str.upper, msgspec.structs.astuple(data)))))
        )
        use = draw(st.sampled_from((CSMS, V2G, MAKER) if own is issuer else (CHAIN,)))
        listed.append((fingerprint, listing(data, use)))
    prints = st.sampled_from([STATION.fingerprint, *TRUTH, "ab" * 32])
    seen = [
        SeenCredential(one, NOW + timedelta(hours=n))
        for n, one in enumerate(draw(st.lists(prints, max_size=4)))
    ]
    return held, listed, seen


@settings(max_examples=200, deadline=None)
@given(account(), st.randoms(use_true_random=False))
def test_every_certificate_is_in_one_row_whatever_the_order(account: tuple, random: object) -> None:
    held, listed, seen = account
    reported = [entry for _, entry in listed]
    found = reconcile(held, reported, seen)
    shuffled = list(reported), list(seen)
    for each in shuffled:
        random.shuffle(each)  # type: ignore[attr-defined]
    assert reconcile(held, *shuffled) == found

    assert [row.held.fingerprint_sha256 for row in found.rows if row.held] == [
        one.fingerprint_sha256 for one in held
    ]
    placed = [entry for _, entry in found.entries()]
    assert sorted(map(repr, placed)) == sorted(map(repr, reported))
    shown = [row.seen.fingerprint_sha256 for row in found.rows if row.seen]
    assert sorted(shown) == sorted({one.fingerprint_sha256 for one in seen})
    assert all(row.sources for row in found.rows)


@settings(max_examples=300, deadline=None)
@given(account())
def test_a_listing_is_never_taken_for_another_certificate_and_ours_is_always_found(account: tuple) -> None:
    held, listed, _ = account
    ours = {one.fingerprint_sha256 for one in held}
    found = reconcile(held, [entry for _, entry in listed])
    meant = {}
    for fingerprint, entry in listed:
        meant.setdefault(entry, set()).add(fingerprint)
    for row, entry in found.entries():
        assert len(meant[entry]) == 1
        (fingerprint,) = meant[entry]
        assert (row.fingerprint_sha256 or fingerprint) == fingerprint
        assert (row.held is not None) == (fingerprint in ours)


@settings(max_examples=200, deadline=None)
@given(account(), st.data())
def test_whatever_may_be_deleted_leaves_the_charger_a_way_back(account: tuple, data: st.DataObject) -> None:
    """Deleting everything that may be, one after another, always leaves the live anchor and one server root."""
    held, listed, _ = account
    remaining = dict(enumerate(listed))
    servers = {fingerprint for fingerprint, entry in listed if store_of(entry.use) == "central-system-root"}
    live = (
        frozenset(data.draw(st.sets(st.sampled_from(sorted(servers)), max_size=1)))
        if servers
        else frozenset()
    )
    known = live & {one.fingerprint_sha256 for one in held}
    for number in data.draw(st.permutations(sorted(remaining))):
        if number not in remaining:
            continue
        fingerprint, entry = remaining[number]
        inventory = reconcile(held, [one for _, one in remaining.values()])
        if deletion_problem(entry.hash_data, inventory, live) is None:
            row, echoed = inventory.listed(entry.hash_data) or pytest.fail("listed")
            assert echoed.hash_data == entry.hash_data
            assert "manufacturer-root" not in row.stores
            remaining = {n: one for n, one in remaining.items() if one[0] != fingerprint}
    left = {
        fingerprint
        for fingerprint, entry in remaining.values()
        if store_of(entry.use) == "central-system-root"
    }
    assert bool(left) == bool(servers)
    assert known <= left


# ---------------------------------------------------------------- deletion

LIVE = frozenset({ROOT_A.pair.fingerprint})
LOOK_ALIKE = twin_of(ROOT_A)


@pytest.mark.parametrize(
    ("target", "reported", "live", "expected"),
    [
        (name_of(FOREIGN), [listing(ROOT_DATA)], LIVE, "unknown-hash-data"),
        (ROOT_DATA, [listing(ROOT_DATA)], LIVE, "anchor-of-live-session"),
        (ROOT_DATA, [listing(ROOT_DATA), listing(name_of(ROOT_B))], LIVE, "anchor-of-live-session"),
        (
            as_base64(ROOT_DATA),
            [listing(ROOT_DATA), listing(name_of(ROOT_B))],
            LIVE,
            "anchor-of-live-session",
        ),
        (name_of(ROOT_B), [listing(ROOT_DATA), listing(name_of(ROOT_B))], LIVE, None),
        (name_of(ROOT_B), [listing(name_of(ROOT_B))], LIVE, "last-central-system-root"),
        (
            name_of(ROOT_B),
            [listing(name_of(ROOT_B)), listing(ROOT_DATA, V2G)],
            LIVE,
            "last-central-system-root",
        ),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN)), listing(name_of(FOREIGN, "SHA512"))],
            None,
            "last-central-system-root",
        ),
        (name_of(FOREIGN), [listing(name_of(FOREIGN)), listing(ROOT_DATA)], LIVE, None),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN)), listing(name_of(ROOT_B))],
            LIVE,
            "live-anchor-not-identified",
        ),
        (name_of(FOREIGN), [listing(name_of(FOREIGN)), listing(name_of(ROOT_B))], None, None),
        (name_of(FOREIGN), [listing(name_of(FOREIGN), MAKER)], LIVE, "firmware-trust-apart"),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN), V2G), listing(name_of(FOREIGN), MAKER)],
            LIVE,
            "firmware-trust-apart",
        ),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN), V2G), listing(name_of(FOREIGN, "SHA384"), MAKER)],
            LIVE,
            "firmware-trust-apart",
        ),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN), V2G), listing(name_of(FOREIGN, "SHA384"))],
            None,
            "last-central-system-root",
        ),
        (name_of(LOOK_ALIKE), [listing(name_of(LOOK_ALIKE)), listing(ROOT_DATA)], LIVE, None),
        (name_of(FOREIGN), [listing(name_of(FOREIGN), V2G)], LIVE, None),
        (
            leaf_name(STATION, ROOT_A),
            [listing(leaf_name(STATION, ROOT_A), CHAIN)],
            LIVE,
            "station-certificate-stays",
        ),
        (
            name_of(FOREIGN),
            [listing(name_of(FOREIGN), "ChargingStationCertificate")],
            LIVE,
            "station-certificate-stays",
        ),
        (leaf_name(SECC, LOWER), [chain_listing()], LIVE, None),
    ],
)
def test_what_may_not_be_deleted_is_refused_with_its_reason(
    target: HashData, reported: list[ReportedCertificate], live: frozenset[str] | None, expected: str | None
) -> None:
    held = (held_leaf(record_of(STATION)), secc(), *anchors(ROOT_A, ROOT_B))
    refusal = deletion_problem(target, reconcile(held, reported), live)
    assert (refusal.code if refusal else None) == expected
    assert refusal is None or len(refusal.message) > 40


def test_a_deletion_echoes_the_chargers_own_hash_data() -> None:
    own = as_base64(name_of(ROOT_B, "SHA512"))
    inventory = reconcile(anchors(ROOT_A, ROOT_B), [listing(ROOT_DATA), listing(own)])
    found = inventory.listed(name_of(ROOT_B, "SHA512"))
    assert found is not None
    assert found[1].hash_data == own
    assert inventory.listed(name_of(ROOT_B)) is None, "another algorithm is not what the charger reported"
