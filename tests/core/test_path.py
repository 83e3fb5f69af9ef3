"""The client path check: what makes a path, what breaks one, what is remembered and what never is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes

from bfactors.path import PathCheck, Problem, TrustSet, VerifiedPath, find_path
from bfactors.x509 import Certificate, certificate_of
from tests.core.x509_maker import NOW, Authority, Pair, new_key

ROOT = Authority.root()
ISSUING = ROOT.sub()
LEAF = ISSUING.leaf()


def read(pair: Pair) -> Certificate:
    return certificate_of(pair.der)


def trusting(*authorities: Authority) -> TrustSet:
    return TrustSet.of(read(authority.pair) for authority in authorities)


def code(pair: Pair, trust: TrustSet, **more: object) -> str:
    """The refusal's code, or `ok`."""
    now = more.pop("now", NOW)
    outcome = PathCheck().check(read(pair), pair.chain_der, trust, now, **more)  # type: ignore[arg-type]
    return outcome.code if isinstance(outcome, Problem) else "ok"


def test_a_path_runs_from_the_leaf_to_the_anchor() -> None:
    outcome = PathCheck().check(read(LEAF), LEAF.chain_der, trusting(ROOT), NOW)
    assert outcome == VerifiedPath((LEAF.fingerprint, ISSUING.pair.fingerprint, ROOT.pair.fingerprint))


def test_a_trusted_sub_ca_ends_the_path_and_needs_no_chain() -> None:
    outcome = PathCheck().check(read(LEAF), (), trusting(ISSUING), NOW)
    assert outcome == VerifiedPath((LEAF.fingerprint, ISSUING.pair.fingerprint))


def test_an_unordered_chain_with_strangers_and_rubbish_in_it_is_sorted_out() -> None:
    deep = ISSUING.sub("Deeper").sub("Deepest")
    leaf = deep.leaf()
    chain = (b"rubbish", Authority.root("X").pair.der, *reversed(leaf.chain_der), ROOT.pair.der)
    outcome = PathCheck().check(read(leaf), chain, trusting(ROOT), NOW)
    assert isinstance(outcome, VerifiedPath)
    assert len(outcome.fingerprints) == 5


def test_the_path_goes_by_the_key_where_two_cas_bear_one_name() -> None:
    twin = Authority.root("Root")
    assert code(LEAF, trusting(twin, ROOT)) == "ok"
    assert code(LEAF, trusting(twin)) == "bad-signature"


def test_a_valid_detour_is_found_when_the_first_issuer_has_expired() -> None:
    """Two certificates of one CA key, an expired one and a renewed one, as after a CA renewal."""
    old = ROOT.sub("CA", not_after=NOW - timedelta(days=1))
    renewed_pair = _renewed(ROOT, old)
    leaf = old.leaf()
    assert code(leaf, trusting(ROOT)) == "issuer-expired"
    both = Pair(leaf.certificate, leaf.key, (*leaf.chain, renewed_pair.certificate))
    assert code(both, trusting(ROOT)) == "ok"


def _renewed(issuer: Authority, old: Authority) -> Pair:
    from cryptography import x509

    certificate = old.pair.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=100))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
    )
    return Pair(builder.sign(issuer.pair.key, hashes.SHA256()), old.pair.key)


# ---------------------------------------------------------------- what breaks a path


def test_an_unknown_issuer_is_untrusted() -> None:
    assert code(Authority.root("Other").leaf(), trusting(ROOT)) == "untrusted-issuer"
    assert code(LEAF, TrustSet.of(())) == "untrusted-issuer"


def test_a_missing_intermediate_leaves_no_path() -> None:
    assert code(Pair(LEAF.certificate, LEAF.key), trusting(ROOT)) == "untrusted-issuer"


def test_a_self_signed_leaf_is_no_path_to_itself() -> None:
    own = Authority.root("SN-1")
    assert code(own.pair, trusting(ROOT)) == "leaf-is-a-ca"


def test_an_issuer_must_be_a_ca_that_may_sign() -> None:
    assert code(ROOT.sub(ca=False).leaf(), trusting(ROOT)) == "issuer-not-a-ca"
    assert code(ROOT.sub(constraints=False).leaf(), trusting(ROOT)) == "issuer-not-a-ca"
    assert code(ROOT.sub(cert_sign=False).leaf(), trusting(ROOT)) == "issuer-may-not-sign"


def test_a_leaf_cannot_issue_another() -> None:
    middle = ISSUING.leaf("SN-1")
    forged = Authority(middle, False).leaf("SN-2")
    assert code(forged, trusting(ROOT)) == "issuer-not-a-ca"


def test_the_path_length_counts_the_cas_below() -> None:
    short = ROOT.sub("Short", path_length=0)
    assert code(short.leaf(), trusting(ROOT)) == "ok"
    assert code(short.sub("Below").leaf(), trusting(ROOT)) == "path-too-long"
    assert code(ROOT.sub("One", path_length=1).sub("Below").leaf(), trusting(ROOT)) == "ok"


def test_a_path_has_an_end() -> None:
    authority = ROOT
    for number in range(6):
        authority = authority.sub(f"CA {number}")
    assert code(authority.leaf(), trusting(ROOT)) == "untrusted-issuer"


def test_a_crowd_of_cas_with_one_name_costs_a_bounded_number_of_checks() -> None:
    twins = [Authority.root("Root") for _ in range(40)]
    assert code(LEAF, trusting(*twins)) in ("bad-signature", "path-too-costly")
    find = find_path(read(LEAF), (read(ISSUING.pair),), trusting(*twins), NOW)
    assert isinstance(find, Problem)
    assert find.code == "path-too-costly"


@pytest.mark.parametrize(
    ("usage", "expected"), [("client", "ok"), ("any", "ok"), (None, "ok"), ("server", "wrong-purpose")]
)
def test_an_extended_key_usage_must_allow_client_authentication(usage: str | None, expected: str) -> None:
    assert code(ISSUING.leaf(usage=usage), trusting(ROOT)) == expected


def test_a_critical_extension_we_do_not_know_is_not_ignored() -> None:
    assert (
        code(ISSUING.leaf(critical_oid="1.3.6.1.4.1.99999.1"), trusting(ROOT))
        == "unprocessed-critical-extension"
    )


def test_weak_keys_and_weak_hashes_are_refused() -> None:
    assert code(ISSUING.leaf(kind="rsa1024"), trusting(ROOT)) == "weak-key"
    assert code(ISSUING.leaf(kind="rsa2048"), trusting(ROOT)) == "ok"


def test_a_san_is_neither_needed_nor_a_problem() -> None:
    assert code(ISSUING.leaf(dns_name="cs.example"), trusting(ROOT)) == "ok"


# ---------------------------------------------------------------- dates


def test_dates_of_every_certificate_are_compared() -> None:
    assert code(ISSUING.leaf(not_after=NOW - timedelta(seconds=1)), trusting(ROOT)) == "leaf-expired"
    assert code(ISSUING.leaf(not_before=NOW + timedelta(seconds=1)), trusting(ROOT)) == "leaf-not-yet-valid"
    assert code(ROOT.sub(not_after=NOW - timedelta(seconds=1)).leaf(), trusting(ROOT)) == "issuer-expired"
    old_root = Authority.root("Old", days=1)
    assert code(old_root.leaf(days=300), trusting(old_root), now=NOW + timedelta(days=2)) == "issuer-expired"
    assert (
        code(old_root.leaf(days=300), trusting(old_root), now=NOW - timedelta(days=2))
        == "issuer-not-yet-valid"
    )


def test_only_the_leafs_own_expiry_can_be_forgiven() -> None:
    expired = ISSUING.leaf(not_after=NOW - timedelta(days=1))
    outcome = PathCheck().check(
        read(expired), expired.chain_der, trusting(ROOT), NOW, forgive_expired_leaf=True
    )
    assert isinstance(outcome, VerifiedPath)
    assert outcome.leaf_expired
    early = ISSUING.leaf(not_before=NOW + timedelta(days=1))
    assert code(early, trusting(ROOT), forgive_expired_leaf=True) == "leaf-not-yet-valid"
    below_old = ROOT.sub(not_after=NOW - timedelta(days=1)).leaf(not_after=NOW - timedelta(days=2))
    assert code(below_old, trusting(ROOT), forgive_expired_leaf=True) == "issuer-expired"


def test_a_remembered_path_is_dated_anew() -> None:
    check = PathCheck()
    short = ROOT.sub("Short", not_after=NOW + timedelta(days=1))
    leaf, trust = short.leaf(), trusting(ROOT)
    assert isinstance(check.check(read(leaf), leaf.chain_der, trust, NOW), VerifiedPath)
    later = check.check(read(leaf), leaf.chain_der, trust, NOW + timedelta(days=2))
    assert isinstance(later, Problem)
    assert later.code == "issuer-expired"


# ---------------------------------------------------------------- resumption and memory


def test_a_resumed_session_uses_the_chain_of_its_full_handshake_against_the_trust_of_today() -> None:
    check = PathCheck()
    leaf = read(LEAF)
    unknown = check.check(leaf, (), trusting(ROOT), NOW, resumed=True)
    assert isinstance(unknown, Problem)
    assert unknown.code == "resumed-without-path"
    assert isinstance(check.check(leaf, LEAF.chain_der, trusting(ROOT), NOW), VerifiedPath)
    assert isinstance(check.check(leaf, (), trusting(ROOT), NOW, resumed=True), VerifiedPath)
    assert isinstance(
        check.check(leaf, (), trusting(ROOT, Authority.root("New")), NOW, resumed=True), VerifiedPath
    )
    gone = check.check(leaf, (), trusting(Authority.root("New")), NOW, resumed=True)
    assert isinstance(gone, Problem)
    assert gone.code == "untrusted-issuer"


def test_a_path_is_forgotten_with_the_trust_it_was_found_under() -> None:
    check = PathCheck()
    assert isinstance(check.check(read(LEAF), LEAF.chain_der, trusting(ROOT), NOW), VerifiedPath)
    assert isinstance(check.check(read(LEAF), LEAF.chain_der, trusting(Authority.root("New")), NOW), Problem)


def test_the_memory_is_bounded() -> None:
    check = PathCheck(capacity=2)
    leaves = [ISSUING.leaf(key=KEY) for _ in range(3)]
    for pair in leaves:
        check.check(read(pair), pair.chain_der, trusting(ROOT), NOW)
    first = check.check(read(leaves[0]), (), trusting(ROOT), NOW, resumed=True)
    assert isinstance(first, Problem)
    assert isinstance(check.check(read(leaves[2]), (), trusting(ROOT), NOW, resumed=True), VerifiedPath)


KEY = new_key()


def test_a_trust_set_is_named_by_its_members_alone() -> None:
    other = Authority.root("Other")
    assert trusting(ROOT, other).digest == trusting(other, ROOT, ROOT).digest
    assert trusting(ROOT).digest != trusting(other).digest
    assert trusting(ROOT, other).fingerprints == tuple(
        sorted((ROOT.pair.fingerprint, other.pair.fingerprint))
    )
    assert TrustSet.of_pem([ROOT.pair.pem + other.pair.pem]).digest == trusting(ROOT, other).digest
