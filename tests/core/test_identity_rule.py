"""The identity rules, one by one and in their order, on values alone."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from bfactors.admission import (
    AdmissionRecord,
    AdmissionRefused,
    CredentialState,
    KeyVerifier,
    KnownCredential,
    PresentedCredential,
    Unproven,
)
from bfactors.exchange import ExchangeRules
from bfactors.identity_rule import (
    RULES,
    Admitted,
    Upgrade,
    admit,
    boot_serial_problem,
    cut_problem,
    key_verifier,
    verify_with,
)
from bfactors.path import PathCheck, TrustSet
from bfactors.x509 import certificate_of, fingerprint_sha256
from tests.core.x509_maker import NOW, Authority

PEPPER = b"pepper"
PASSWORD = b"correct horse battery"
ROOT = Authority.root()
LEAF = ROOT.leaf("SN-1")
TRUST = TrustSet.of([certificate_of(ROOT.pair.der)])


def key(password: bytes = PASSWORD, generation: int = 1, pepper_id: str = "p") -> KeyVerifier:
    return KeyVerifier(generation, pepper_id, key_verifier(PEPPER, password), "active")


def credential(state: CredentialState, admit_until: datetime | None = None) -> KnownCredential:
    return KnownCredential(
        LEAF.fingerprint, "cert-1", state, LEAF.certificate.not_valid_after_utc, admit_until
    )


RECORD = AdmissionRecord(
    charger_id="CS-1",
    managed_identity_id="id-1",
    serial_number="SN-1",
    expected_common_name="SN-1",
    organization="BetterFleet",
    family="acme",
    site="depot",
    cohort="pilot",
    allowed_profiles=(2, 3),
    keys=(key(),),
    credentials=(credential("active"),),
)
BASIC = Upgrade(
    charger_id="CS-1",
    ready=True,
    tls=True,
    record=RECORD,
    now=NOW,
    trust=TRUST,
    paths=PathCheck(),
    verify_key=verify_with({"p": PEPPER}),
    user="CS-1",
    password=PASSWORD,
)
MUTUAL = msgspec.structs.replace(BASIC, user=None, password=None, credential=PresentedCredential(LEAF.der))


def outcome(upgrade: Upgrade, **changes: object) -> str:
    """The refusal's status and reason, or `profile N`; `record` may be given as changes to RECORD."""
    record = changes.get("record")
    if isinstance(record, dict):
        changes["record"] = msgspec.structs.replace(RECORD, **record)
    decided = admit(msgspec.structs.replace(upgrade, **changes))
    if isinstance(decided, AdmissionRefused):
        return f"{decided.http_status} {decided.reason}"
    return f"profile {decided.security_profile}"


def test_who_is_who_they_say_they_are_is_admitted() -> None:
    assert admit(BASIC) == Admitted(security_profile=2, key_generation=1)
    assert admit(MUTUAL) == Admitted(
        security_profile=3, fingerprint_sha256=LEAF.fingerprint, certificate_id="cert-1"
    )


@pytest.mark.parametrize(
    ("upgrade", "changes", "expected"),
    [
        (BASIC, {"ready": False}, "503 admission-not-ready"),
        (BASIC, {"charger_id": ""}, "400 charger-id-invalid"),
        (BASIC, {"charger_id": "a:b"}, "400 charger-id-invalid"),
        (BASIC, {"charger_id": "x" * 49}, "400 charger-id-invalid"),
        (BASIC, {"record": None}, "404 charger-unknown"),
        (MUTUAL, {"record": None}, "404 charger-unknown"),
        (BASIC, {"record": {"mode": "refused"}}, "403 charger-refused"),
        (MUTUAL, {"record": {"mode": "refused", "refusal_reason": "stolen"}}, "403 stolen"),
        (BASIC, {"record": {"mode": "pending"}}, "profile 2"),
        (BASIC, {"record": {"allowed_profiles": (3,)}}, "403 profile-not-allowed"),
        (MUTUAL, {"record": {"allowed_profiles": (2,)}}, "403 profile-not-allowed"),
        (BASIC, {"tls": False}, "403 profile-not-allowed"),
        (BASIC, {"record": {"way_back_until": NOW + timedelta(seconds=1)}}, "profile 2"),
        (BASIC, {"record": {"way_back_until": NOW}}, "403 profile-not-allowed"),
        (MUTUAL, {"record": {"way_back_until": NOW}}, "profile 3"),
        (BASIC, {"tls": False, "record": {"allowed_profiles": (1,)}}, "profile 1"),
        (
            BASIC,
            {"tls": False, "password": None, "user": None, "record": {"allowed_profiles": (0,)}},
            "profile 0",
        ),
        (
            BASIC,
            {"tls": False, "password": b"wrong", "record": {"allowed_profiles": (0, 1)}},
            "401 basic-password-wrong",
        ),
        (BASIC, {"user": None, "password": None}, "401 basic-credentials-missing"),
        (BASIC, {"user": "CS-2"}, "401 basic-user-mismatch"),
        (BASIC, {"user": "cs-1"}, "401 basic-user-mismatch"),
        (BASIC, {"password": b"wrong"}, "401 basic-password-wrong"),
        (BASIC, {"password": b""}, "401 basic-password-wrong"),
        (BASIC, {"password": PASSWORD + b"\x00"}, "401 basic-password-wrong"),
        (BASIC, {"record": {"keys": ()}}, "401 basic-password-wrong"),
        (BASIC, {"record": {"keys": (key(pepper_id="unknown"),)}}, "401 basic-password-wrong"),
        (BASIC, {"record": {"keys": (key(b"x"), key(b"y"), key(b"z"), key(generation=4))}}, "profile 2"),
        (BASIC, {"password": b"x" * 256, "record": {"keys": (key(b"x" * 256),)}}, "profile 2"),
        (BASIC, {"password": b"x", "record": {"keys": (key(b"x"),)}}, "profile 2"),
        (BASIC, {"password": b"x" * 257, "record": {"keys": (key(b"x" * 257),)}}, "401 basic-password-wrong"),
        (BASIC, {"password": b"", "record": {"keys": (key(b""),)}}, "401 basic-password-wrong"),
        (MUTUAL, {"record": {"credentials": ()}}, "403 credential-unknown"),
        (MUTUAL, {"trust": TrustSet.of(())}, "403 untrusted-issuer"),
        (MUTUAL, {"now": NOW + timedelta(days=4000)}, "403 issuer-expired"),
        (MUTUAL, {"credential": PresentedCredential(b"rubbish")}, "403 credential-unknown"),
        (MUTUAL, {"credential": PresentedCredential(LEAF.der, resumed=True)}, "403 resumed-without-path"),
        (MUTUAL, {"credential": PresentedCredential(LEAF.der, source="header")}, "profile 3"),
        (MUTUAL, {"record": {"organization": "Other"}}, "403 organization-mismatch"),
        (MUTUAL, {"record": {"organization": None}}, "profile 3"),
        (MUTUAL, {"record": {"expected_common_name": "SN"}}, "403 common-name-mismatch"),
        (MUTUAL, {"record": {"expected_common_name": "SN", "subject_match": "contains"}}, "profile 3"),
        (
            MUTUAL,
            {"record": {"expected_common_name": "", "subject_match": "contains"}},
            "403 common-name-mismatch",
        ),
        (MUTUAL, {"user": "somebody", "password": b"else"}, "profile 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # what goes in differs from worker to worker
)
def test_each_rule_refuses_with_its_own_status_and_reason(
    upgrade: Upgrade, changes: dict[str, object], expected: str
) -> None:
    assert outcome(msgspec.structs.replace(upgrade, paths=PathCheck()), **changes) == expected


@pytest.mark.parametrize(
    ("state", "until", "expected"),
    [
        ("issued", None, "profile 3"),
        ("installed", None, "profile 3"),
        ("active", None, "profile 3"),
        ("superseded", NOW + timedelta(seconds=1), "profile 3"),
        ("superseded", NOW, "403 credential-superseded"),
        ("superseded", None, "403 credential-superseded"),
        ("inactive", NOW + timedelta(days=1), "403 credential-inactive"),
        ("revoked", NOW + timedelta(days=1), "403 credential-revoked"),
        ("expired", NOW + timedelta(days=1), "403 credential-expired"),
        ("rejected", NOW + timedelta(days=1), "403 credential-rejected"),
    ],
)
def test_the_state_of_a_known_leaf_decides(
    state: CredentialState, until: datetime | None, expected: str
) -> None:
    assert outcome(MUTUAL, record={"credentials": (credential(state, until),)}) == expected


@pytest.mark.parametrize("state", ["revoked", "inactive", "rejected", "superseded"])
def test_who_forgives_that_a_leaf_has_expired_forgives_nothing_else(state: CredentialState) -> None:
    record = {"credentials": (credential(state, None),)}
    assert outcome(MUTUAL, forgive_expired_leaf=True, record=record) == f"403 credential-{state}"
    late = LEAF.certificate.not_valid_after_utc + timedelta(days=1)
    assert outcome(MUTUAL, forgive_expired_leaf=True, record=record, now=late) == f"403 credential-{state}"


def test_a_listed_leaf_that_is_no_certificate_is_refused_as_malformed() -> None:
    rubbish = PresentedCredential(b"rubbish")
    listed = msgspec.structs.replace(credential("active"), fingerprint_sha256=fingerprint_sha256(b"rubbish"))
    assert (
        outcome(MUTUAL, credential=rubbish, record={"credentials": (listed,)}) == "403 credential-malformed"
    )


def test_a_superseded_leaf_within_its_grace_is_flagged() -> None:
    record = msgspec.structs.replace(RECORD, credentials=(credential("superseded", NOW + timedelta(days=1)),))
    decided = admit(msgspec.structs.replace(MUTUAL, record=record))
    assert isinstance(decided, Admitted)
    assert decided.flags == ("superseded-credential",)


@pytest.mark.parametrize(
    ("unproven", "expected"),
    [("no", ()), ("admitted", ("revocation-unknown",)), ("refused", "403 credential-revocation-unknown")],
)
def test_a_leaf_nobody_vouches_for_is_flagged_or_refused(
    unproven: Unproven, expected: str | tuple[str, ...]
) -> None:
    known = msgspec.structs.replace(credential("active"), unproven=unproven)
    record = msgspec.structs.replace(RECORD, credentials=(known,))
    decided = admit(msgspec.structs.replace(MUTUAL, record=record))
    if isinstance(decided, Admitted):
        assert decided.flags == expected
    else:
        assert f"{decided.http_status} {decided.reason}" == expected
    assert cut_problem(record, known.fingerprint_sha256, None) is None, "an open session goes on"


def test_an_expired_leaf_is_forgiven_only_when_asked_for() -> None:
    late = {"now": LEAF.certificate.not_valid_after_utc + timedelta(days=1)}
    assert outcome(MUTUAL, **late) == "403 leaf-expired"
    assert outcome(MUTUAL, forgive_expired_leaf=True, **late) == "profile 3"
    recorded = {"record": {"credentials": (credential("expired", None),)}}
    assert outcome(MUTUAL, forgive_expired_leaf=True, **late, **recorded) == "profile 3"


def test_a_forgiven_leaf_is_flagged_so_that_its_charger_stays_pending() -> None:
    end = MUTUAL.record.credentials[0].not_after
    for now, flags in ((end, ()), (end + timedelta(seconds=1), ("expired-credential",))):
        decided = admit(msgspec.structs.replace(MUTUAL, now=now, forgive_expired_leaf=True))
        assert isinstance(decided, Admitted)
        assert decided.flags == flags
    assert flags[0] in ExchangeRules().pending_flags


def test_the_generation_of_the_key_that_matched_is_told() -> None:
    record = msgspec.structs.replace(RECORD, keys=(key(b"older"), key(generation=7)))
    decided = admit(msgspec.structs.replace(BASIC, record=record))
    assert isinstance(decided, Admitted)
    assert decided.key_generation == 7


def test_the_answer_never_tells_which_part_of_basic_was_wrong() -> None:
    refusals = [
        admit(msgspec.structs.replace(BASIC, **changes))
        for changes in (
            {"user": "CS-2"},
            {"password": b"wrong"},
            {"user": "CS-2", "password": b"wrong"},
            {"user": None},
        )
    ]
    assert (
        len({(item.http_status, item.message) for item in refusals if isinstance(item, AdmissionRefused)})
        == 1
    )
    assert all(isinstance(item, AdmissionRefused) for item in refusals)


@pytest.mark.parametrize("keys", [(), (key(),), (key(b"x"), key(b"y"), key())])
@pytest.mark.parametrize(
    "changes", [{"user": "CS-2"}, {"password": b"wrong"}, {"record": None}, {"password": None, "user": None}]
)
def test_every_basic_refusal_costs_as_many_verifications(
    keys: tuple[KeyVerifier, ...], changes: dict[str, object]
) -> None:
    verified: list[bytes] = []

    def counting(verifier: KeyVerifier, password: bytes) -> bool:
        verified.append(password)
        return verify_with({"p": PEPPER})(verifier, password)

    record = msgspec.structs.replace(RECORD, keys=keys)
    upgrade = msgspec.structs.replace(BASIC, record=record, verify_key=counting)
    assert isinstance(admit(msgspec.structs.replace(upgrade, **changes)), AdmissionRefused)
    assert len(verified) == 3


def test_rules_are_data_with_a_name_and_a_status_each() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert {rule.http_status for rule in RULES} == {400, 401, 403, 404, 503}


# ---------------------------------------------------------------- open sessions


def test_only_what_ends_trust_cuts_an_open_session() -> None:
    def cut(fingerprint: str | None, generation: int | None, **changes: object) -> str | None:
        problem = cut_problem(msgspec.structs.replace(RECORD, **changes), fingerprint, generation)
        return problem.code if problem else None

    leaf = LEAF.fingerprint
    assert cut(leaf, None) is None
    assert cut(None, 1) is None
    assert cut(None, None) is None
    assert cut(leaf, None, mode="refused") == "charger-refused"
    assert cut(None, 1, mode="refused", refusal_reason="stolen") == "stolen"
    assert cut(None, 1, mode="pending") is None
    assert cut(leaf, None, credentials=()) == "credential-unknown"
    assert cut(None, 1, keys=(key(generation=2),)) == "key-removed"
    assert cut(None, 1, allowed_profiles=(3,)) is None
    for state in ("revoked", "inactive", "rejected"):
        assert cut(leaf, None, credentials=(credential(state),)) == f"credential-{state}"
    for state in ("issued", "installed", "active", "superseded", "expired"):
        assert cut(leaf, None, credentials=(credential(state),)) is None


def test_a_session_of_an_expired_leaf_goes_on_while_that_is_permitted() -> None:
    leaf, flags = LEAF.fingerprint, ("expired-credential",)
    permitted = msgspec.structs.replace(RECORD, expired_admitted_until=NOW)
    assert cut_problem(permitted, leaf, None, flags) is None
    taken_back = cut_problem(RECORD, leaf, None, flags)
    assert taken_back is not None
    assert taken_back.code == "credential-expired"
    assert cut_problem(RECORD, leaf, None) is None


def test_a_key_beside_the_session_s_own_cuts_nothing() -> None:
    both = msgspec.structs.replace(RECORD, keys=(key(), key(generation=2)))
    for generation, expected in ((1, None), (2, None), (3, "key-removed")):
        problem = cut_problem(both, None, generation)
        assert (problem.code if problem else None) == expected


def test_a_leaf_recorded_as_expired_is_flagged_so_whatever_this_clock_says() -> None:
    record = msgspec.structs.replace(RECORD, credentials=(credential("expired"),))
    decided = admit(msgspec.structs.replace(MUTUAL, record=record, forgive_expired_leaf=True))
    assert isinstance(decided, Admitted)
    assert decided.flags == ("expired-credential",)


def test_the_serial_at_boot_must_be_the_certificates_at_profile_3_only() -> None:
    def said(profile: int, serial: str | None) -> str | None:
        record = msgspec.structs.replace(RECORD, serial_number="SN-1", expected_common_name="CN-1")
        problem = boot_serial_problem(record, profile, serial)
        return problem.code if problem else None

    assert said(3, "SN-1") is None
    assert said(3, "CN-1") is None
    assert said(3, "SN-2") == "serial-mismatch"
    assert said(3, None) == "serial-missing"
    assert said(3, "") == "serial-mismatch"
    assert said(2, "SN-2") is None
    assert said(1, None) is None
