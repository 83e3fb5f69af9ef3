"""What is secret by its name, and texts that repeat a secret."""

from hypothesis import given
from hypothesis import strategies as st

from bfactors.confidential import without
from bfactors.disclosed import Disclosed

KEY = "0123456789abcdefFEDC"


def test_a_text_loses_what_it_repeats_and_nothing_else() -> None:
    secret = Disclosed(KEY.encode())
    assert without(f"value '{KEY}' is too long", secret) == "value '***' is too long"
    assert without(f"{KEY.upper()}{KEY.encode().hex().upper()}", secret) == "******"
    assert without("01234567 and 89abcdef", secret) == "*** and ***"
    assert without("0123456 is too short", secret) == "0123456 is too short"
    assert without("", secret) == ""


def test_an_address_is_hidden_and_the_reason_stays() -> None:
    address = Disclosed(b"https://log:secretsecret@logs.example/upload/abcdefghijklmnopqrstuv")
    told = without("PermissionDenied: abcdefghijklmnopqrstuv: 401", address)
    assert told == "PermissionDenied: ***: 401"


@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=8, max_size=40))
def test_no_secret_comes_through_whatever_stands_around_it(before: str, after: str, secret: str) -> None:
    assert secret not in without(before + secret + after, Disclosed(secret.encode()))


@given(st.text(max_size=100))
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without(text, Disclosed(b"\x00\x01\x02\x03\x04\x05\x06\x07")) == text or "\x00\x01" in text
