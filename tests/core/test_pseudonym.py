"""Personal identifiers get one name for one value, however they are spelled, and none that gives the value away."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.free_text import TAKEN_OUT, has_identifier, without_identifiers
from bfactors.pseudonym import (
    KINDS,
    PSEUDONYM_CHARS,
    NoIdentifier,
    PseudonymKey,
    kind_of,
    masked,
    normalised,
    pseudonym,
    pseudonyms,
)

KEY = PseudonymKey.of(b"k" * 32)
OTHER = PseudonymKey.of(b"o" * 32)
VIN = "WDB2030461A123456"
EMAID = "DE8AACA1B2C3D4"
PCID = "HUBOpenProvCert001"

_VIN_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_LETTERS = string.ascii_uppercase + string.digits
vins = st.text(_VIN_LETTERS, min_size=17, max_size=17)
emaids = st.tuples(
    st.text(string.ascii_uppercase, min_size=2, max_size=2), st.text(_LETTERS, min_size=12, max_size=12)
).map("".join)
pcids = st.text(_LETTERS, min_size=17, max_size=18)
identifiers = st.one_of(
    *(
        st.tuples(st.just(kind), values)
        for kind, values in (("vin", vins), ("emaid", emaids), ("pcid", pcids))
    )
)


@given(identifiers, st.data())
def test_any_spelling_has_the_name_of_the_plain_one(identifier: tuple[str, str], data: st.DataObject) -> None:
    kind, value = identifier
    spelled = "".join(
        data.draw(st.sampled_from((char, char.lower()))) + data.draw(st.sampled_from(("", "", "-", " ", "*")))
        for char in value
    )
    assert pseudonym(KEY, kind, spelled) == pseudonym(KEY, kind, value)


@given(identifiers)
def test_normalising_twice_is_normalising_once(identifier: tuple[str, str]) -> None:
    kind, value = identifier
    assert normalised(kind, normalised(kind, value)) == normalised(kind, value)


@given(identifiers, identifiers)
def test_two_values_have_two_names(one: tuple[str, str], two: tuple[str, str]) -> None:
    same = (one[0], normalised(*one)) == (two[0], normalised(*two))
    assert (pseudonym(KEY, *one) == pseudonym(KEY, *two)) == same


@given(identifiers)
def test_a_name_says_its_kind_and_its_key_and_nothing_of_the_value(identifier: tuple[str, str]) -> None:
    kind, value = identifier
    name = pseudonym(KEY, kind, value)
    assert re.fullmatch(rf"{kind}:{KEY.key_id}:[0-9a-f]{{64}}", name)
    assert kind_of(name) == kind
    assert len(name) <= PSEUDONYM_CHARS
    assert value not in name.upper()


def test_the_check_digit_of_an_emaid_does_not_matter() -> None:
    assert pseudonym(KEY, "emaid", "DE-8AA-CA1B2C3D4-X") == pseudonym(KEY, "emaid", EMAID)


def test_the_same_text_as_two_kinds_has_two_unrelated_names() -> None:
    as_vin, as_pcid = pseudonym(KEY, "vin", VIN), pseudonym(KEY, "pcid", VIN)
    assert as_vin.rpartition(":")[2] != as_pcid.rpartition(":")[2]


def test_another_key_gives_another_name_and_the_newest_comes_first() -> None:
    assert pseudonyms((KEY, OTHER), "vin", VIN) == (pseudonym(OTHER, "vin", VIN), pseudonym(KEY, "vin", VIN))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("vin", ""),
        ("vin", VIN[:-1]),
        ("vin", VIN + "7"),
        ("vin", VIN.replace("W", "I")),
        ("vin", VIN.replace("W", "O")),
        ("vin", VIN.replace("W", "q")),
        ("vin", VIN.replace("W", "Ä")),
        ("vin", VIN.replace("W", "ſ")),
        ("pcid", PCID.replace("O", "ı")),
        ("vin", VIN.replace("1", "١")),
        ("emaid", EMAID[:-1]),
        ("emaid", "D1" + EMAID[2:]),
        ("emaid", EMAID + "XY"),
        ("pcid", "A" * 16),
        ("pcid", "A" * 19),
        ("pcid", "A/" + "A" * 15),
    ],
)
def test_what_is_none_is_refused_without_being_repeated(kind: str, text: str) -> None:
    with pytest.raises(NoIdentifier) as refused:
        pseudonym(KEY, kind, text)
    assert not text or text not in str(refused.value)


@pytest.mark.parametrize("text", ["", "vin", "vin:abc", "evse_id:DE*ABC*E1", f"vin:{'a' * 12}:{'g' * 64}"])
def test_what_is_no_pseudonym_has_no_kind(text: str) -> None:
    assert kind_of(text) is None


@given(identifiers)
def test_a_mask_hides_at_least_half(identifier: tuple[str, str]) -> None:
    kind, value = identifier
    shown = masked(kind, normalised(kind, value)).replace("…", "")
    assert len(shown) * 2 <= len(normalised(kind, value))


def test_every_kind_masks_and_a_key_prints_only_its_id() -> None:
    assert {kind: masked(kind, text) for kind, text in (("vin", VIN), ("emaid", EMAID), ("pcid", PCID))} == {
        "vin": "WDB…3456",
        "emaid": "DE8AA…D4",
        "pcid": "HUB…t001",
    }
    assert set(KINDS) == {"vin", "emaid", "pcid"}
    assert "k" * 32 not in f"{KEY} {KEY!r} {[KEY]}"


# ---------------------------------------------------------------- in other people's words


@given(
    st.one_of(emaids.map(lambda text: f"{text[:5]}C{text[6:]}7")),
    st.sampled_from(("{}", "token {} refused", "({})", "a:{};b")),
)
def test_an_emaid_is_taken_out_of_a_text(emaid: str, around: str) -> None:
    emaid = emaid[:13] + "4" + emaid[14:]
    assert emaid[:14] not in without_identifiers(around.format(emaid))


@pytest.mark.parametrize(
    "text",
    [
        VIN,
        f"car {VIN.lower()} unplugged",
        f"VIN={VIN}!",
        "DE-8AA-CA1B2C3D4-X refused",
        "DE*8AA*A1B2C3*D refused",
        f"auth {EMAID} timed out",
        f'{{"pcid": "{PCID}"}}',
        f"EVCCID: 00:1A:22 pcid={PCID}",
        "vehicle id: ABCDEF123",
    ],
)
def test_what_looks_like_somebodys_goes(text: str) -> None:
    assert has_identifier(text)
    cleaned = without_identifiers(text)
    assert TAKEN_OUT in cleaned
    for value in (VIN, VIN.lower(), EMAID, PCID, "A1B2C3", "ABCDEF123"):
        assert value not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TLS handshake failed: unknown CA",
        "fingerprint 3f8e0d6c5b4a39281706f5e4d3c2b1a0",
        "serial SN-0001 firmware 1.2.3-rc4",
        "12345678901234567",
        "2026-03-01T12:00:00.123Z",
        "ConfigurationChanged on connector 2",
        "vin: -",
    ],
)
def test_what_is_nobodys_stays(text: str) -> None:
    assert without_identifiers(text) == text
    assert not has_identifier(text)
