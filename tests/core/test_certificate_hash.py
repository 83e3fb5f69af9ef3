"""Hash data means the same however a charger writes it, and stays as the charger wrote it."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from bfactors.certificate_hash import DIGEST_BYTES, HashData, Reading
from bfactors.x509 import certificate_of, hash_data, hash_data_over_spki
from tests.core.x509_maker import Authority

ROOT = Authority.root()
LEAF = ROOT.leaf()
ALGORITHMS = st.sampled_from(sorted(DIGEST_BYTES))


def truth(algorithm: str, name: bytes, key: bytes, serial: int) -> Reading:
    return algorithm, name.hex(), key.hex(), f"{serial:x}"


@st.composite
def written(draw: st.DrawFn) -> tuple[HashData, Reading]:
    """Hash data as some charger writes it, with hexadecimal hashes, and what it means."""
    algorithm = draw(ALGORITHMS)
    size = DIGEST_BYTES[algorithm]
    name, key = (
        draw(st.binary(min_size=size, max_size=size).filter(lambda raw: any(raw[:4]))) for _ in range(2)
    )
    serial = draw(st.integers(0, (1 << 160) - 1))

    def text(hexadecimal: str) -> str:
        shown = draw(
            st.sampled_from((hexadecimal, hexadecimal.upper(), hexadecimal.lstrip("0"), "00" + hexadecimal))
        )
        return draw(st.sampled_from(("", "0x", "0X", " "))) + shown + draw(st.sampled_from(("", " ", "\n")))

    def whole(raw: bytes) -> str:
        pairs = ":".join(raw.hex()[at : at + 2] for at in range(0, 2 * size, 2))
        shown = draw(
            st.sampled_from((raw.hex(), raw.hex().upper(), raw.hex().lstrip("0"), "0x" + raw.hex(), pairs))
        )
        return draw(st.sampled_from(("", " "))) + shown

    spelled = draw(st.sampled_from((algorithm, algorithm.lower(), algorithm.replace("SHA", "SHA-"))))
    return HashData(spelled, whole(name), whole(key), text(f"{serial:x}")), truth(
        algorithm, name, key, serial
    )


@given(written())
def test_hexadecimal_in_any_form_is_read_as_what_it_means(case: tuple[HashData, Reading]) -> None:
    data, meant = case
    assert data.folded() == meant
    assert data.readings()[0] == meant


@given(st.data(), ALGORITHMS, st.integers(0, (1 << 160) - 1), st.booleans(), st.booleans(), st.booleans())
def test_base64_hashes_and_decimal_serials_are_understood(
    data: st.DataObject, algorithm: str, serial: int, urlsafe: bool, padded: bool, decimal: bool
) -> None:
    size = DIGEST_BYTES[algorithm]
    name, key = (data.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    name_text, key_text = (encode(raw).decode() for raw in (name, key))
    if not padded:
        name_text, key_text = name_text.rstrip("="), key_text.rstrip("=")
    found = HashData(algorithm, name_text, key_text, str(serial) if decimal else f"{serial:x}").readings()
    assert truth(algorithm, name, key, serial) in found
    assert len(found) <= 2
    if decimal:
        assert found[0] == truth(algorithm, name, key, serial)


def test_a_short_serial_next_to_hexadecimal_hashes_is_never_taken_for_decimal() -> None:
    short = HashData("SHA256", "ab" * 32, "cd" * 32, "12")
    assert [reading[3] for reading in short.readings()] == ["12"]
    long = HashData("SHA256", "ab" * 32, "cd" * 32, "123456789012")
    assert [reading[3] for reading in long.readings()] == ["123456789012", f"{123456789012:x}"]
    said = HashData("SHA256", "ab" * 32, "cd" * 32, "0x123456789012")
    assert [reading[3] for reading in said.readings()] == ["123456789012"]


@given(st.text(max_size=50), st.text(max_size=130), st.text(max_size=130), st.text(max_size=300))
def test_whatever_a_charger_writes_can_be_compared(algorithm: str, name: str, key: str, serial: str) -> None:
    data = HashData(algorithm, name, key, serial)
    assert 1 <= len(data.readings()) <= 2
    assert data.folded() == data.readings()[0]
    assert (data.algorithm, data.issuer_name_hash, data.issuer_key_hash, data.serial_number) == (
        algorithm, name, key, serial,
    )  # fmt: skip


@given(written(), written())
def test_two_certificates_are_never_read_as_one(
    one: tuple[HashData, Reading], other: tuple[HashData, Reading]
) -> None:
    assert (one[0].folded() == other[0].folded()) == (one[1] == other[1])


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_the_whole_key_hashed_is_the_spki_of_the_issuer(algorithm: str) -> None:
    issuer, leaf = certificate_of(ROOT.pair.der), certificate_of(LEAF.der)
    spki = ROOT.pair.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    exact, over_spki = hash_data(leaf, issuer, algorithm), hash_data_over_spki(leaf, issuer, algorithm)  # type: ignore[arg-type]
    assert over_spki.issuer_key_hash == hashlib.new(algorithm, spki).hexdigest()
    assert over_spki.issuer_name_hash == exact.issuer_name_hash
    assert over_spki != exact
