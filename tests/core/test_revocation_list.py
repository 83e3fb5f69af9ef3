"""What is believed of a list or a responder about certificates of ours, and where they are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ObjectIdentifier

from bfactors.ocsp import NotBelieved
from bfactors.revocation_answer import read_answer
from bfactors.revocation_list import read_list
from bfactors.revocation_source import ADDRESSES_MAX, sources_in
from tests.fakes.revocation import Issuer

ADDRESS = "http://crl.example/1.crl"
DER = serialization.Encoding.DER


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def signed(
    issuer: Issuer,
    *extensions: tuple[x509.ExtensionType, bool],
    serials: Sequence[int] = (0xAB,),
    last_update: datetime | None = None,
) -> bytes:
    last_update = last_update or issuer.now
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.name,
        last_update=last_update,
        next_update=last_update + timedelta(days=2),
        revoked_certificates=[
            x509.RevokedCertificateBuilder(serial, issuer.now - timedelta(hours=1)).build()
            for serial in serials
        ],
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer.signs_with, hashes.SHA256()).public_bytes(DER)


def partition(address: str = ADDRESS, **changes: object) -> x509.IssuingDistributionPoint:
    values: dict[str, object] = {
        "full_name": [x509.UniformResourceIdentifier(address)],
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
        **changes,
    }
    return x509.IssuingDistributionPoint(**values)  # type: ignore[arg-type]


def test_a_list_says_since_when_a_certificate_is_revoked(issuer: Issuer) -> None:
    found = read_list(signed(issuer, (x509.CRLNumber(31), False)), ADDRESS, issuer.certificate, issuer.now)
    assert found.revoked_at("ab") == issuer.now - timedelta(hours=1)
    assert found.revoked_at("ac") is None
    assert (found.number, found.this_update) == ("1f", issuer.now)
    assert not found.is_stale(issuer.now)
    assert found.is_stale(issuer.now + timedelta(days=2))
    assert (len(found), found.serial_numbers()) == (1, ["ab"])


def test_a_list_that_should_have_been_replaced_still_proves_what_it_lists(issuer: Issuer) -> None:
    old = signed(issuer, last_update=issuer.now - timedelta(days=9))
    found = read_list(old, ADDRESS, issuer.certificate, issuer.now)
    assert found.is_stale(issuer.now)
    assert found.revoked_at("ab") is not None


def test_a_partition_is_believed_about_its_own_address(issuer: Issuer) -> None:
    encoded = signed(issuer, (partition(), True))
    assert read_list(encoded, ADDRESS, issuer.certificate, issuer.now).revoked_at("ab") is not None


@pytest.mark.parametrize(
    "extension",
    [
        partition("http://crl.example/2.crl"),
        partition(only_contains_ca_certs=True),
        partition(only_contains_attribute_certs=True),
        partition(indirect_crl=True),
        partition(only_some_reasons=frozenset({x509.ReasonFlags.key_compromise})),
        x509.DeltaCRLIndicator(7),
        x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
    ],
    ids=["another-address", "cas", "attributes", "indirect", "reasons", "delta", "unknown"],
)
def test_a_list_that_does_not_speak_of_the_certificate_is_not_believed(
    issuer: Issuer, extension: x509.ExtensionType
) -> None:
    with pytest.raises(NotBelieved):
        read_list(signed(issuer, (extension, True)), ADDRESS, issuer.certificate, issuer.now)


def test_a_list_somebody_else_signed_is_not_believed(issuer: Issuer) -> None:
    issuer.signs_with = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(NotBelieved, match="signed"):
        read_list(signed(issuer), ADDRESS, issuer.certificate, issuer.now)


def test_another_issuers_list_is_not_believed(issuer: Issuer) -> None:
    with pytest.raises(NotBelieved, match="another issuer"):
        read_list(signed(Issuer("somebody else")), ADDRESS, issuer.certificate, issuer.now)


def test_a_list_of_the_future_and_no_list_at_all_are_not_believed(issuer: Issuer) -> None:
    with pytest.raises(NotBelieved, match="future"):
        read_list(
            signed(issuer, last_update=issuer.now + timedelta(minutes=6)),
            ADDRESS,
            issuer.certificate,
            issuer.now,
        )
    for encoded in (b"", b"<html>", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"):
        with pytest.raises(NotBelieved, match="cannot be read"):
            read_list(encoded, ADDRESS, issuer.certificate, issuer.now)


# ---------------------------------------------------------------- responders


def test_a_responders_answer_is_the_issuers_word(issuer: Issuer) -> None:
    issuer.revoked, issuer.unknown = {0xAB}, {0xAD}
    answers = [
        read_answer(issuer.response(s), f"{s:x}", issuer.certificate, issuer.now) for s in (0xAB, 0xAC, 0xAD)
    ]
    assert [answer.status for answer in answers] == ["Revoked", "Good", "Unknown"]
    assert answers[0].revoked_at == issuer.now


def test_good_passes_with_its_date_and_revoked_does_not(issuer: Issuer) -> None:
    issuer.revoked = {0xAB}
    later = issuer.now + timedelta(days=3)
    assert read_answer(issuer.response(0xAB), "ab", issuer.certificate, later).status == "Revoked"
    with pytest.raises(NotBelieved, match="out of date"):
        read_answer(issuer.response(0xAC), "ac", issuer.certificate, later)


def test_an_answer_about_another_certificate_or_by_somebody_else_is_not_believed(issuer: Issuer) -> None:
    with pytest.raises(NotBelieved, match="another certificate"):
        read_answer(issuer.response(0xAC), "ab", issuer.certificate, issuer.now)
    with pytest.raises(NotBelieved, match="signed"):
        read_answer(Issuer().response(0xAB), "ab", issuer.certificate, issuer.now)
    with pytest.raises(NotBelieved, match="cannot be read"):
        read_answer(b"nonsense", "ab", issuer.certificate, issuer.now)


# ---------------------------------------------------------------- addresses


def leaf(*extensions: x509.ExtensionType) -> str:
    issuer = Issuer()
    builder = (
        x509.CertificateBuilder()
        .subject_name(issuer.name)
        .issuer_name(issuer.name)
        .public_key(issuer.key.public_key())
        .serial_number(1)
        .not_valid_before(issuer.now)
        .not_valid_after(issuer.now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def point(*addresses: str, **changes: object) -> x509.DistributionPoint:
    names = [x509.UniformResourceIdentifier(address) for address in addresses]
    values: dict[str, object] = {
        "full_name": names,
        "relative_name": None,
        "reasons": None,
        "crl_issuer": None,
    }
    return x509.DistributionPoint(**{**values, **changes})  # type: ignore[arg-type]


def test_a_certificate_names_its_lists_and_responders() -> None:
    access = [
        x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://o/")
        ),
        x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://i/")
        ),
    ]
    lists = x509.CRLDistributionPoints([point("http://a/", "ldap://b/"), point("https://c/")])
    found = sources_in(leaf(lists, x509.AuthorityInformationAccess(access)))
    assert found.crl == ("http://a/", "https://c/")
    assert found.ocsp == ("http://o/",)


def test_a_list_of_some_reasons_or_by_another_signer_is_none_to_look_at() -> None:
    reasons = point("http://a/", reasons=frozenset({x509.ReasonFlags.key_compromise}))
    signer = point("http://b/", crl_issuer=[x509.DirectoryName(Issuer().name)])
    assert sources_in(leaf(x509.CRLDistributionPoints([reasons, signer]))).is_none


def test_few_addresses_are_read_and_nothing_of_a_damaged_certificate() -> None:
    many = x509.CRLDistributionPoints([point(f"http://a/{number}") for number in range(40)])
    assert len(sources_in(leaf(many)).crl) == ADDRESSES_MAX
    assert sources_in(leaf()).is_none
    assert sources_in("no certificate").is_none
