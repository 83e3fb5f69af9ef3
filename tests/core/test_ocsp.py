"""OCSP requests from hash data as chargers write them, and which responses and lists are believed."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp

from bfactors.certificate_hash import HashData, Reading
from bfactors.ocsp import (
    KEPT_AT_MOST,
    KEPT_UNPROVED,
    NotBelieved,
    judged_by_list,
    judged_by_response,
    questions_of,
    request_der,
)
from bfactors.revocation_signer import certificates_in
from tests.fakes.revocation import DER, Issuer, base64_hash

SERIAL = 0x0123456789ABCDEF0123
ISSUER = Issuer()
NOW = ISSUER.now


def named(serial: int = SERIAL, algorithm: str = "SHA256", issuer: Issuer = ISSUER) -> HashData:
    data = issuer.hash_data(serial, algorithm)
    return HashData(algorithm, data["issuerNameHash"], data["issuerKeyHash"], data["serialNumber"])


def reading(serial: int = SERIAL, algorithm: str = "SHA256") -> Reading:
    return questions_of(named(serial, algorithm))[0]


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_the_request_is_the_one_made_from_the_certificate_itself(algorithm: str) -> None:
    builder = ocsp.OCSPRequestBuilder()
    digest = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}[algorithm]
    expected = builder.add_certificate(ISSUER.leaf(SERIAL), ISSUER.certificate, digest).build()
    assert request_der(reading(algorithm=algorithm)) == expected.public_bytes(DER)


def test_hashes_in_base64_and_a_decimal_serial_number_make_the_same_request() -> None:
    data = named()
    odd = HashData(
        "SHA256", base64_hash(data.issuer_name_hash), base64_hash(data.issuer_key_hash), str(SERIAL)
    )
    assert request_der(questions_of(odd)[0]) == request_der(reading())


@pytest.mark.parametrize(
    "data",
    [
        HashData("MD5", "a" * 64, "b" * 64, "1"),
        HashData("SHA256", "a" * 63 + "g", "b" * 64, "1"),
        HashData("SHA256", "a" * 64, "", "1"),
        HashData("SHA256", "a" * 64, "b" * 64, "no number"),
        HashData("SHA256", "a" * 64, "b" * 128, "1"),
        HashData("SHA256", "a" * 64, "b" * 64, "f" * 41),
    ],
)
def test_what_names_no_certificate_is_no_question(data: HashData) -> None:
    assert questions_of(data) == ()


def test_a_response_says_good_revoked_or_unknown_until_its_next_update() -> None:
    issuer = Issuer()
    issuer.revoked.add(2)
    issuer.unknown.add(3)
    for serial, status in ((1, "Good"), (2, "Revoked"), (3, "Unknown")):
        asked = questions_of(named(serial, issuer=issuer))[0]
        judgement = judged_by_response(issuer.response(serial), asked, issuer.now)
        assert (judgement.status, judgement.until) == (status, issuer.now + issuer.valid_for)


def test_what_is_good_for_long_is_kept_for_a_week() -> None:
    issuer = Issuer()
    issuer.valid_for = timedelta(days=60)
    asked = questions_of(named(1, issuer=issuer))[0]
    assert judged_by_response(issuer.response(1), asked, issuer.now).until == issuer.now + KEPT_AT_MOST


def test_a_response_about_another_certificate_is_not_believed() -> None:
    for other in (
        ISSUER.response(SERIAL + 1),
        ISSUER.response(SERIAL, hashes.SHA384()),
        Issuer("somebody").response(SERIAL),
    ):
        with pytest.raises(NotBelieved, match="another certificate"):
            judged_by_response(other, reading(), NOW)


def test_a_response_that_is_none_is_not_believed() -> None:
    refused = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    with pytest.raises(NotBelieved, match="unauthorized"):
        judged_by_response(refused.public_bytes(DER), reading(), NOW)
    for damaged in (b"", b"<html>", ISSUER.response(SERIAL)[:-40]):
        with pytest.raises(NotBelieved, match="cannot be read"):
            judged_by_response(damaged, reading(), NOW)


def test_every_damaged_byte_is_either_noticed_or_leaves_the_answer_readable() -> None:
    response = ISSUER.response(SERIAL)
    for position in range(len(response)):
        damaged = bytearray(response)
        damaged[position] ^= 0x55
        try:
            judged_by_response(bytes(damaged), reading(), NOW)
        except NotBelieved:
            continue


def test_what_is_too_old_or_of_the_future_is_not_believed() -> None:
    old = NOW - ISSUER.valid_for
    with pytest.raises(NotBelieved, match="out of date"):
        judged_by_response(ISSUER.response(SERIAL, this_update=old), reading(), NOW)
    with pytest.raises(NotBelieved, match="out of date"):
        judged_by_list(ISSUER.revocations(old), reading(), NOW)
    soon = NOW + timedelta(minutes=6)
    with pytest.raises(NotBelieved, match="of the future"):
        judged_by_response(ISSUER.response(SERIAL, this_update=soon), reading(), NOW)
    with pytest.raises(NotBelieved, match="of the future"):
        judged_by_list(ISSUER.revocations(soon), reading(), NOW)
    assert judged_by_list(ISSUER.revocations(NOW + timedelta(minutes=4)), reading(), NOW).status == "Good"


def test_who_is_on_the_list_is_revoked_and_who_is_not_is_good() -> None:
    issuer = Issuer()
    issuer.revoked.add(2)
    der = issuer.revocations()
    pem = x509.load_der_x509_crl(der).public_bytes(serialization.Encoding.PEM)
    for encoded in (der, pem, b"\n" + pem):
        for serial, status in ((1, "Good"), (2, "Revoked")):
            asked = questions_of(named(serial, issuer=issuer))[0]
            judgement = judged_by_list(encoded, asked, issuer.now, [issuer.certificate])
            assert judgement.is_proved
            assert (judgement.status, judgement.until) == (status, issuer.now + issuer.valid_for)


def test_a_list_of_another_issuer_or_of_a_part_says_nothing() -> None:
    with pytest.raises(NotBelieved, match="another issuer"):
        judged_by_list(Issuer("somebody").revocations(), reading(), NOW)
    part = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ISSUER.name)
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(ISSUER.key, hashes.SHA256())
    )
    with pytest.raises(NotBelieved, match="only some"):
        judged_by_list(part.public_bytes(DER), reading(), NOW)
    with pytest.raises(NotBelieved, match="cannot be read"):
        judged_by_list(b"-----BEGIN X509 CRL-----", reading(), NOW)


# ---------------------------------------------------------------- who signed it


def issuer_with(key: ec.EllipticCurvePrivateKey | None = None) -> tuple[Issuer, Reading]:
    issuer = Issuer()
    issuer.issuer_address = "http://ca.example/issuer"
    if key is not None:
        issuer.signs_with = key
    return issuer, questions_of(named(1, issuer=issuer))[0]


OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def test_what_its_issuer_signed_is_proved_whether_its_certificate_lies_beside_it_or_is_at_hand() -> None:
    issuer, asked = issuer_with()
    assert judged_by_response(issuer.response(1), asked, issuer.now).is_proved
    issuer.embedded = []
    beside = [Issuer("somebody").certificate, issuer.certificate]
    assert judged_by_response(issuer.response(1), asked, issuer.now, beside).is_proved
    assert judged_by_list(issuer.revocations(), asked, issuer.now, beside).is_proved


def test_without_the_issuers_certificate_it_is_anybodys_word_and_kept_for_an_hour() -> None:
    issuer, asked = issuer_with()
    issuer.embedded = [issuer.responder(OTHER_KEY), Issuer(issuer.name.rfc4514_string()[3:]).certificate]
    of_list = judged_by_list(issuer.revocations(), asked, issuer.now)
    for judgement in (judged_by_response(issuer.response(1), asked, issuer.now), of_list):
        assert not judgement.is_proved
        assert judgement.until == issuer.now + KEPT_UNPROVED
        assert judgement.look_at == ("http://ca.example/issuer",)


def test_what_somebody_else_signed_is_not_believed() -> None:
    issuer, asked = issuer_with(OTHER_KEY)
    with pytest.raises(NotBelieved, match="somebody else"):
        judged_by_response(issuer.response(1), asked, issuer.now)
    with pytest.raises(NotBelieved, match="somebody else"):
        judged_by_list(issuer.revocations(), asked, issuer.now, [issuer.certificate])


@pytest.mark.parametrize(
    ("more", "is_believed"), [({}, True), ({"for_ocsp": False}, False), ({"days": -1}, False)]
)
def test_a_responder_answers_for_its_issuer_while_it_may(more: dict[str, int], is_believed: bool) -> None:
    issuer, asked = issuer_with(OTHER_KEY)
    issuer.embedded = [issuer.responder(OTHER_KEY, **more), issuer.certificate]  # type: ignore[arg-type]
    if is_believed:
        assert judged_by_response(issuer.response(1), asked, issuer.now).is_proved
    else:
        with pytest.raises(NotBelieved, match="somebody else"):
            judged_by_response(issuer.response(1), asked, issuer.now)


def test_a_responder_of_somebody_else_answers_for_nobody() -> None:
    issuer, asked = issuer_with(OTHER_KEY)
    issuer.embedded = [Issuer("V2G sub-CA of the test").responder(OTHER_KEY), issuer.certificate]
    with pytest.raises(NotBelieved, match="somebody else"):
        judged_by_response(issuer.response(1), asked, issuer.now)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_issuers_with_other_kinds_of_keys_are_proved_too(kind: str) -> None:
    issuer = Issuer()
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    digest = hashes.SHA256() if kind == "rsa" else None
    issuer.certificate = (
        x509.CertificateBuilder()
        .subject_name(issuer.name)
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(issuer.now)
        .not_valid_after(issuer.now + timedelta(days=1))
        .sign(key, digest)
    )
    asked = questions_of(named(1, issuer=issuer))[0]
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=issuer.leaf(1),
        issuer=issuer.certificate,
        algorithm=hashes.SHA256(),
        cert_status=ocsp.OCSPCertStatus.GOOD,
        this_update=issuer.now,
        next_update=issuer.now + timedelta(days=1),
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    response = builder.sign(key, digest).public_bytes(DER)
    assert judged_by_response(response, asked, issuer.now, [issuer.certificate]).is_proved
    flipped = response[:-1] + bytes([response[-1] ^ 1])
    with pytest.raises(NotBelieved, match="somebody else"):
        judged_by_response(flipped, asked, issuer.now, [issuer.certificate])


def test_an_issuers_file_may_be_der_pem_or_pkcs7() -> None:
    certificate = ISSUER.certificate
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    for encoded, number in (
        (certificate.public_bytes(DER), 1),
        (pem + pem, 2),
        (pkcs7.serialize_certificates([certificate], DER), 1),
        (pkcs7.serialize_certificates([certificate], serialization.Encoding.PEM), 1),
        (b"<html>", 0),
        (b"-----BEGIN CERTIFICATE-----", 0),
        (b"", 0),
    ):
        assert len(certificates_in(encoded)) == number
