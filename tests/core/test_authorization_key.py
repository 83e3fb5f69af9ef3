"""AuthorizationKeys: what each OCPP version writes, presents and refuses, and which keys are weak."""

import dataclasses
import json
import pickle
import random
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.admission import KeyVerifier
from bfactors.authorization_key import (
    HEX_TEXT_PASSWORD,
    MOST_OCTETS,
    AuthorizationKey,
    Version,
    key_problem,
    presentation_flag,
)
from bfactors.identity_rule import verify_with
from bfactors.key_weakness import Weakness, weakness_of

VERSIONS: tuple[Version, ...] = get_args(Version)
OCTETS = bytes.fromhex("8f3a1cd95b6e02f7c4a19d37e8506b2c")
HEX = OCTETS.hex()
PEPPER = b"pepper of the test"

versions = st.sampled_from(VERSIONS)
octets_16 = st.binary(min_size=16, max_size=20)


def random_key(octets: bytes = OCTETS, version: Version = "1.6") -> AuthorizationKey:
    return AuthorizationKey.from_random(octets, version)


def given_key(text: str, version: Version) -> AuthorizationKey:
    return AuthorizationKey.from_text(text, version)


# ---------------------------------------------------------------- what a key may be


@pytest.mark.parametrize(
    ("version", "octets", "fits"),
    [
        *((version, 15, False) for version in VERSIONS),
        *((version, 16, True) for version in VERSIONS),
        *((version, 20, True) for version in VERSIONS),
        ("1.6", 21, False),
        ("2.0.1", 21, False),
        ("2.1", 32, True),
        ("2.1", 33, False),
    ],
)
def test_a_key_is_made_of_as_many_random_bytes_as_its_version_has_room_for(
    version: Version, octets: int, fits: bool
) -> None:
    if fits:
        assert AuthorizationKey.from_random(b"\x01" * octets, version).origin == "generated"
    else:
        with pytest.raises(ValueError, match="16 to"):
            AuthorizationKey.from_random(b"\x01" * octets, version)


@pytest.mark.parametrize(
    ("version", "text", "problem"),
    [
        ("1.6", HEX, None),
        ("1.6", HEX.upper(), None),
        ("1.6", HEX + "01020304", None),
        ("1.6", HEX + "0102030405", "32 to 40 hex digits"),
        ("1.6", HEX + "f", "32 to 40 hex digits"),
        ("1.6", HEX[:-2], "32 to 40 hex digits"),
        ("1.6", "sixteen letters!", None),
        ("1.6", "a" * 15, "32 to 40 hex digits"),
        ("1.6", "a" * 21, "32 to 40 hex digits"),
        ("1.6", "line\nbreak 123456", "32 to 40 hex digits"),
        ("2.0.1", "x" * 15, "16 to 40 characters"),
        ("2.0.1", "x" * 16, None),
        ("2.0.1", "x" * 40, None),
        ("2.0.1", "x" * 41, "16 to 40 characters"),
        ("2.0.1", "letters*-_=:+|@.", None),
        ("2.0.1", "with a space 1234", "visible ASCII"),
        ("2.0.1", "grüner-strom-1234", "visible ASCII"),
        ("2.1", "x" * 64, None),
        ("2.1", "x" * 65, "16 to 64 characters"),
        ("2.1", "grüner strom 1234", None),
        ("2.1", " leading-space-12", "spaces at its ends"),
        ("2.1", "tab\tinside-123456", "printable"),
    ],
)
def test_what_a_given_key_may_look_like(version: Version, text: str, problem: str | None) -> None:
    found = key_problem(text, version)
    assert found is None if problem is None else problem in (found or "")
    if problem is not None:
        with pytest.raises(ValueError, match="must") as raised:
            given_key(text, version)
        assert text not in str(raised.value)


# ---------------------------------------------------------------- on the wire and in the header


def test_ocpp_1_6_writes_hex_and_presents_the_bytes() -> None:
    key = random_key()
    assert key.wire_text("1.6") == HEX
    candidates = key.header_candidates("1.6")
    assert [(each.password, each.flag) for each in candidates] == [
        (OCTETS, None),
        (HEX.encode(), HEX_TEXT_PASSWORD),
    ]


@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
def test_ocpp_2_writes_and_presents_the_same_text(version: Version) -> None:
    key = random_key(version=version)
    assert key.wire_text(version) == HEX
    assert [(each.password, each.flag) for each in key.header_candidates(version)] == [(HEX.encode(), None)]


def test_a_plain_key_of_ocpp_1_6_is_written_as_hex_of_its_bytes() -> None:
    key = given_key("sixteen letters!", "1.6")
    assert key.wire_text("1.6") == b"sixteen letters!".hex()
    assert key.header_candidates("1.6")[0].password == b"sixteen letters!"


def test_the_case_of_given_hex_digits_is_kept() -> None:
    key = given_key(HEX.upper(), "1.6")
    assert key.wire_text("1.6") == HEX.upper()
    assert [each.password for each in key.header_candidates("1.6")] == [OCTETS, HEX.upper().encode()]


def test_a_key_that_another_version_cannot_write_says_so() -> None:
    long = given_key("a long pass phrase of thirty-two", "2.1")
    with pytest.raises(ValueError, match=r"no form in OCPP 1\.6"):
        long.wire_text("1.6")
    with pytest.raises(ValueError, match="visible ASCII"):
        long.wire_text("2.0.1")


@given(octets_16)
def test_one_random_key_suits_every_version(octets: bytes) -> None:
    key = random_key(octets)
    assert {key.wire_text(version) for version in VERSIONS} == {octets.hex()}
    assert all(key_problem(octets.hex(), version) is None for version in VERSIONS)


@given(versions, st.binary(min_size=16, max_size=32))
def test_a_key_comes_out_of_the_sealed_store_as_it_went_in(version: Version, octets: bytes) -> None:
    key = random_key(octets[: MOST_OCTETS[version]], version)
    found = AuthorizationKey.from_disclosed(key.disclosed, version)
    assert found == key
    assert found.wire_text(version) == key.wire_text(version)
    assert found.header_candidates(version) == key.header_candidates(version)


@given(versions, st.text(min_size=1, max_size=70))
def test_any_text_is_refused_or_can_be_written_and_presented(version: Version, text: str) -> None:
    if key_problem(text, version) is not None:
        return
    key = given_key(text, version)
    assert key_problem(key.wire_text(version), version) is None
    proper = key.header_candidates(version)[0]
    assert len(proper.password) >= 16
    assert (
        bytes.fromhex(key.wire_text(version)) == proper.password
        if version == "1.6"
        else (key.wire_text(version).encode() == proper.password)
    )


@given(st.binary(max_size=64))
def test_the_flag_of_a_presented_password_needs_no_key(password: bytes) -> None:
    for version in VERSIONS:
        assert presentation_flag(version, password) in (None, HEX_TEXT_PASSWORD)
    assert presentation_flag("1.6", HEX.encode()) == HEX_TEXT_PASSWORD
    assert presentation_flag("2.0.1", HEX.encode()) is None


# ---------------------------------------------------------------- verifiers


def verifiers(key: AuthorizationKey, *of: Version) -> tuple[KeyVerifier, ...]:
    return key.verifiers(of, pepper_id="p", pepper=PEPPER, generation=3, state="pending")


@given(octets_16, st.lists(versions, min_size=1, max_size=3))
def test_admission_recognises_every_form_a_charger_may_present(octets: bytes, of: list[Version]) -> None:
    key = random_key(octets)
    made = verifiers(key, *of)
    check = verify_with({"p": PEPPER})
    for version in of:
        for candidate in key.header_candidates(version):
            assert sum(check(verifier, candidate.password) for verifier in made) == 1
    assert not any(check(verifier, octets[:-1] + bytes([octets[-1] ^ 1])) for verifier in made)
    assert {(each.generation, each.pepper_id, each.state) for each in made} == {(3, "p", "pending")}


def test_a_form_that_two_versions_share_has_one_verifier() -> None:
    key = random_key()
    assert len(verifiers(key, "1.6", "2.0.1", "2.1")) == 2
    assert len(verifiers(key, "2.0.1", "2.1")) == 1


# ---------------------------------------------------------------- it does not show itself


def test_a_key_is_in_no_text_made_of_it() -> None:
    key = random_key()
    shown = [repr(key), str(key), f"{key}", f"{key!r}", repr([key]), repr(key.header_candidates("1.6"))]
    shown += [repr(key.disclosed), str(key.disclosed)]
    for text in shown:
        assert HEX not in text
        assert repr(OCTETS)[2:-1] not in text


@pytest.mark.parametrize(
    "write",
    [msgspec.json.encode, msgspec.msgpack.encode, json.dumps, pickle.dumps, dataclasses.asdict, vars],
)
def test_no_encoder_writes_a_key_down(write: Any) -> None:
    with pytest.raises(TypeError):
        write(random_key())


# ---------------------------------------------------------------- weak keys


@pytest.mark.parametrize(
    ("password", "weakness"),
    [
        (b"", "short-key"),
        (b"1234", "short-key"),
        (b"15-chars-long!!", "short-key"),
        (b"0" * 16, "repeated-key"),
        (b"\x00" * 20, "repeated-key"),
        (b"ab12cd34ab12cd34", "repeated-key"),
        (b"0011001011010011", "repeated-key"),
        (b"00" * 16, "repeated-key"),
        (HEX[:16].encode() * 2, "repeated-key"),
        (b"0123456789abcdef", "sequential-key"),
        (b"1234567890123456", "sequential-key"),
        (b"zyxwvutsrqponmlk", "sequential-key"),
        (bytes(range(16)), "sequential-key"),
        (bytes(range(16)).hex().encode(), "sequential-key"),
        (bytes(range(0, 160, 10)), "sequential-key"),
        (b"Password1234!?#7", "default-key"),
        (b"changeme-changeMe2", "default-key"),
        (b"qwertyuiop123456", "default-key"),
        (b"passwordpassword1".hex().encode(), "default-key"),
        (b"deadbeefcafebabe1", "default-key"),
        (b"DEPOT-7-BAY-1-01", "key-from-identity"),
        (b"SN0012345678SN00", "key-from-identity"),
        (b"1-YAB-7-TOPED-99", "key-from-identity"),
        (b"SN0012345678-A1B2C3D4E5F6G7", "key-from-identity"),
        (b"left by the make", "factory-key"),
        (b"kV9xQm2LrT7bWz4N", "low-entropy-key"),
        (b"83920174650918273645019283746501", "low-entropy-key"),
        (b"kV9xQm2LrT7bWz4NcY8pHd", None),
        (HEX.encode(), None),
        (HEX.upper().encode(), None),
        (OCTETS, None),
    ],
)
def test_weak_keys_are_recognised_with_their_reason(password: bytes, weakness: Weakness | None) -> None:
    found = weakness_of(
        password,
        identities=("depot-7-bay-1", "SN0012345678", "A1B2C3D4E5F6G7"),
        factory_keys={b"left by the make"},
    )
    assert found == weakness


def test_a_key_that_is_part_of_a_long_identity_is_told_by_it() -> None:
    assert weakness_of(b"2026-0815-77-42X3", identities=("ACME-2026-0815-77-42X3",)) == "key-from-identity"


def test_a_name_too_short_to_tell_anything_is_no_reason() -> None:
    assert weakness_of(b"7kV9xQm2LrT7bWz4NcY8pHd7", identities=("7", "CP1")) is None


@given(st.binary(min_size=16, max_size=20), st.lists(st.text(max_size=12), max_size=3))
def test_a_generated_key_is_only_weak_for_a_reason_a_broken_source_would_leave(
    octets: bytes, identities: list[str]
) -> None:
    found = random_key(octets).weakness(identities=identities)
    assert found != "low-entropy-key"
    assert found in (None, *get_args(Weakness))


def test_only_the_symbols_of_a_key_somebody_chose_are_counted() -> None:
    digits = "83920174650918273645019283746501"
    assert random_key(bytes.fromhex(digits)).weakness() is None
    assert given_key(digits, "2.0.1").weakness() == "low-entropy-key"


def test_of_many_random_keys_none_is_called_weak() -> None:
    source = random.Random(20261123)
    for _ in range(5_000):
        octets = source.randbytes(16)
        identities = ("depot-7-bay-1", "SN0012345678", octets[:2].hex())
        assert weakness_of(octets, identities=identities) is None
        assert random_key(octets).weakness(identities=identities) is None
