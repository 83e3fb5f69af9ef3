"""What a load balancer's headers say of a client, and what they cannot say."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfactors.admission import PresentedCredential
from bfactors.forwarded import CHAIN, LEAF, forwarded_credential, speaks_of_client
from bfactors.path import Problem
from tests.core.x509_maker import Authority

ROOT = Authority.root()
SUB = ROOT.sub()
PAIR = SUB.leaf("SN-1", usage="client")


def encoded(text: str) -> str:
    """As AWS documents it: percent-encoded, with `+=/` left as they are."""
    return quote(text, safe="+=/")


WHOLE = encoded(PAIR.chain_pem)
ALONE = encoded(PAIR.pem)


def test_passthrough_brings_the_whole_chain_leaf_first() -> None:
    found = forwarded_credential({CHAIN: [WHOLE]})
    assert found == PresentedCredential(leaf_der=PAIR.der, chain_der=PAIR.chain_der, source="header")


def test_verify_brings_the_leaf_alone() -> None:
    said = {LEAF: [ALONE], f"{CHAIN}-subject": ["CN=SN-1"], f"{CHAIN}-serial-number": ["01"]}
    assert forwarded_credential(said) == PresentedCredential(leaf_der=PAIR.der, source="header")


def test_everything_percent_encoded_is_read_as_well() -> None:
    found = forwarded_credential({CHAIN: [quote(PAIR.chain_pem, safe="")]})
    assert isinstance(found, PresentedCredential)
    assert found.leaf_der == PAIR.der


def test_no_header_says_nothing() -> None:
    assert forwarded_credential({"x-forwarded-for": ["192.0.2.1"], "host": ["a"]}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {CHAIN: [WHOLE, WHOLE]},
        {CHAIN: [WHOLE], LEAF: [encoded(SUB.leaf("SN-2").pem)]},
        {f"{CHAIN}-subject": ["CN=SN-1"]},
        {CHAIN: [""]},
        {CHAIN: ["none"]},
        {CHAIN: [encoded("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]},
        {CHAIN: ["%ff%fe"]},
        {CHAIN: [encoded(PAIR.pem * 9)]},
        {LEAF: [ALONE[:-200]]},
    ],
    ids=[
        "twice",
        "two leaves",
        "described only",
        "empty",
        "no pem",
        "no der",
        "no text",
        "too many",
        "cut off",
    ],
)
def test_what_cannot_be_read_is_refused_and_never_taken_for_no_certificate(
    headers: dict[str, list[str]],
) -> None:
    found = forwarded_credential(headers)
    assert isinstance(found, Problem)
    assert found.code == "proxy-header-malformed"


@given(st.text(max_size=200))
def test_no_text_breaks_it(text: str) -> None:
    assert not isinstance(forwarded_credential({CHAIN: [text]}), PresentedCredential)


@given(st.text(alphabet="abcdefghijklmnop-", max_size=30))
def test_only_the_load_balancers_own_names_speak_of_a_client(name: str) -> None:
    assert speaks_of_client({name: ["x"]}) == name.startswith("x-amzn-mtls-clientcert")
