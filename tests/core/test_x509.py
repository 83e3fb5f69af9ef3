"""Certificates and CSRs in every dressing, read as values; hash data against an independent calculation."""

from __future__ import annotations

import base64
import hashlib
import textwrap
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.pkcs10 import take_apart
from bfactors.x509 import (
    CLIENT_AUTH,
    MalformedX509,
    certificate_of,
    csr_der,
    csr_of,
    first_and_rest,
    hash_data,
    is_root,
    issuer_within,
    join_chain,
    key_algorithm_of,
    key_strength_problem,
    normalised_csr,
    parse_certificate,
    parse_certificates,
    parse_csr,
    pem_of,
    proves_possession,
    signed_by,
    split_chain,
)
from tests.core.x509_maker import Authority, csr_pem, name_of, new_key

ROOT = Authority.root()
ISSUING = ROOT.sub(path_length=0)
LEAF = ISSUING.leaf("SN-1", "ACME", usage="client", dns_name="cs.example")
KEY = new_key()
CSR = csr_pem(KEY, "SN-1", "ACME")
CSR_DER = x509.load_pem_x509_csr(CSR.encode()).public_bytes(Encoding.DER)
BODY = base64.b64encode(CSR_DER).decode()

DRESSINGS = {
    "plain": CSR,
    "no newline at the end": CSR.strip(),
    "CRLF": CSR.replace("\n", "\r\n"),
    "old Mac": CSR.replace("\n", "\r"),
    "literal line breaks": CSR.replace("\n", "\\n"),
    "literal CRLF": CSR.replace("\n", "\\r\\n"),
    "one long line": f"-----BEGIN CERTIFICATE REQUEST-----\n{BODY}\n-----END CERTIFICATE REQUEST-----",
    "everything on one line": CSR.replace("\n", ""),
    "spaces for line breaks": CSR.replace("\n", " ").replace("BEGIN CERTIFICATE", "BEGIN CERTIFICATE"),
    "new certificate request": CSR.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
    "text around": f"Certificate Request:\n    Data: Version 1\n{CSR}\ntrailing words\n",
    "bare base64": BODY,
    "bare base64 in lines": "\n".join(textwrap.wrap(BODY, 76)),
    "bare base64 without padding": BODY.rstrip("="),
    "header lines inside": CSR.replace("REQUEST-----\n", "REQUEST-----\nX-Serial: 7\n\n", 1),
    "indented": textwrap.indent(CSR, "    "),
}


@pytest.mark.parametrize("text", DRESSINGS.values(), ids=DRESSINGS.keys())
def test_a_csr_is_read_in_any_dressing_with_its_der_untouched(text: str) -> None:
    request = parse_csr(text)
    assert request.der == CSR_DER
    assert normalised_csr(text) == CSR
    assert (request.common_name, request.organization, request.key_algorithm) == (
        "SN-1",
        "ACME",
        "ec-secp256r1",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("hello, world!", "not base64"),
        ("aGVsbG8=", "not valid DER"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA", "does not end"),
        (LEAF.pem, "labelled CERTIFICATE"),
        ("A" * 70_000, "longer than"),
        ("é", "not base64"),
    ],
)
def test_what_is_no_csr_is_refused_without_being_quoted(text: str, said: str) -> None:
    with pytest.raises(MalformedX509, match=said) as caught:
        parse_csr(text)
    assert len(str(caught.value)) < 120


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    for read in (parse_csr, parse_certificate):
        try:
            read(text)
        except MalformedX509:
            continue


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_csr_or_certificate_is_either_read_or_refused(data: st.DataObject) -> None:
    for whole, read in ((CSR_DER, csr_of), (LEAF.der, certificate_of)):
        damaged = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            read(bytes(damaged))
            if read is csr_of:
                proves_possession(bytes(damaged))
        except MalformedX509:
            continue


def test_possession_is_proved_by_the_csrs_own_key_only() -> None:
    assert proves_possession(CSR_DER)
    forged = bytearray(CSR_DER)
    forged[-1] ^= 1
    assert not proves_possession(bytes(forged))


def test_a_csr_is_taken_apart_once_to_be_read_and_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bytes] = []

    def counted(der: bytes) -> Any:
        taken.append(der)
        return take_apart(der)

    monkeypatch.setattr("bfactors.x509.take_apart", counted)
    der = csr_der(csr_pem(new_key(), "SN-1", "ACME"))
    assert parse_csr(pem_of(der, "CERTIFICATE REQUEST")).der == der
    assert proves_possession(der)
    assert taken == [der]


def test_what_a_csr_asks_for_is_seen() -> None:
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name_of("SN-1"))
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cs.example")]), critical=False)
        .sign(KEY, hashes.SHA384())
    )
    read = parse_csr(request.public_bytes(Encoding.PEM).decode())
    assert (read.requests_ca, read.dns_names, read.signature_hash) == (True, ("cs.example",), "sha384")
    assert [(item.oid, item.critical) for item in read.requested] == [
        ("2.5.29.19", True),
        ("2.5.29.17", False),
    ]
    assert read.subject_fields == (
        (NameOID.ORGANIZATION_NAME.dotted_string, "BetterFleet"),
        (NameOID.COMMON_NAME.dotted_string, "SN-1"),
    )


def test_a_certificate_is_read_into_plain_values() -> None:
    leaf = parse_certificate(LEAF.pem)
    loaded = LEAF.certificate
    spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert leaf.fingerprint_sha256 == hashlib.sha256(LEAF.der).hexdigest()
    assert leaf.spki_sha256 == hashlib.sha256(spki).hexdigest()
    assert leaf.serial_number == f"{loaded.serial_number:x}"
    assert (leaf.common_name, leaf.organization, leaf.dns_names) == ("SN-1", "ACME", ("cs.example",))
    assert (leaf.is_ca, leaf.key_usage, leaf.extended_key_usage) == (
        False,
        ("digital_signature",),
        (CLIENT_AUTH,),
    )
    assert (leaf.not_before, leaf.not_after) == (loaded.not_valid_before_utc, loaded.not_valid_after_utc)
    assert leaf.not_after.tzinfo is not None
    issuing = parse_certificate(ISSUING.pair.pem)
    assert (issuing.is_ca, issuing.path_length) == (True, 0)


def test_a_csr_and_the_certificate_made_from_it_share_the_key_hash() -> None:
    assert csr_of(CSR_DER).spki_sha256 == certificate_of(ISSUING.leaf(key=KEY).der).spki_sha256


def test_a_chain_is_split_and_joined_without_a_change() -> None:
    text = LEAF.pem + "\nissuer:\n" + ISSUING.pair.pem.replace("\n", "\r\n") + ROOT.pair.pem
    chain = split_chain(text)
    assert chain == (LEAF.der, ISSUING.pair.der, ROOT.pair.der)
    assert join_chain(chain) == LEAF.pem + ISSUING.pair.pem + ROOT.pair.pem
    assert [item.common_name for item in parse_certificates(text)] == ["SN-1", "Issuing CA", "Root"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3))
def test_our_own_form_is_read_as_any_other_is(chain: list[bytes]) -> None:
    text = join_chain(chain)
    assert split_chain(text) == split_chain(text.replace("\n", "\r\n")) == tuple(chain)
    csr = pem_of(chain[0], "CERTIFICATE REQUEST")
    assert csr_der(csr) == csr_der("\n" + csr) == chain[0]
    assert normalised_csr(csr) == normalised_csr("\n" + csr) == csr


def test_a_chain_is_cut_behind_its_leaf_however_it_is_dressed() -> None:
    for chain in ((LEAF.der,), (LEAF.der, ISSUING.pair.der), (LEAF.der, ISSUING.pair.der, ROOT.pair.der)):
        text = join_chain(chain)
        for dressed in (text, text.replace("\n", "\r\n"), "leaf:\n" + text):
            assert first_and_rest(dressed) == (LEAF.pem, join_chain(chain[1:]))


def test_of_two_csrs_the_first_counts() -> None:
    other = pem_of(LEAF.der, "CERTIFICATE REQUEST")
    assert normalised_csr(CSR + other) == CSR
    assert csr_der(CSR + other) == CSR_DER


def test_issuers_and_roots_are_told_apart() -> None:
    leaf, issuing, root = (certificate_of(pair.der) for pair in (LEAF, ISSUING.pair, ROOT.pair))
    impostor = certificate_of(Authority.root("Root").pair.der)
    assert [is_root(item) for item in (leaf, issuing, root)] == [False, False, True]
    assert signed_by(leaf, issuing)
    assert not signed_by(leaf, root)
    assert not signed_by(issuing, impostor), "the name alone makes no issuer"
    assert issuer_within(issuing, (leaf, impostor, root)) == root
    assert issuer_within(root, (root,)) is None


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_hash_data_is_what_rfc_6960_says(algorithm: str, kind: str) -> None:
    issuer = Authority.root(kind=kind)
    pair = issuer.leaf()
    digest = getattr(hashlib, algorithm.lower())
    key = issuer.pair.key.public_key()
    # The content of the subjectPublicKey BIT STRING, without its tag, length and unused-bits octet.
    if isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        bits = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    found = hash_data(certificate_of(pair.der), certificate_of(issuer.pair.der), algorithm)  # type: ignore[arg-type]
    assert found.algorithm == algorithm
    assert found.issuer_name_hash == digest(issuer.pair.certificate.subject.public_bytes()).hexdigest()
    assert found.issuer_key_hash == digest(bits).hexdigest()
    assert found.serial_number == f"{pair.certificate.serial_number:x}"


KEYS = pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        rsa.generate_private_key(65537, 1025),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=lambda key: key_algorithm_of(key.public_key()),
)


@KEYS
def test_a_certificates_fields_are_cut_out_as_decoding_would_find_them(key: Any) -> None:
    pair = ISSUING.leaf("Serial number " * 4, "Depots and Søns", key=key)
    read, loaded = certificate_of(pair.der), pair.certificate
    spki = loaded.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert read.spki_sha256 == hashlib.sha256(spki).hexdigest()
    assert read.key_algorithm == key_algorithm_of(loaded.public_key())
    assert (read.subject_der, read.issuer_der) == (
        loaded.subject.public_bytes(),
        loaded.issuer.public_bytes(),
    )
    assert (read.subject, read.issuer) == (loaded.subject.rfc4514_string(), loaded.issuer.rfc4514_string())


@KEYS
def test_a_csrs_key_is_named_as_decoding_would_name_it(key: Any) -> None:
    digest = None if key_algorithm_of(key.public_key()).startswith("ed") else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(name_of("SN-1", None)).sign(key, digest)
    read = csr_of(made.public_bytes(Encoding.DER))
    assert read.key_algorithm == key_algorithm_of(key.public_key())
    assert read.subject_key_id == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()


def test_key_identifiers_and_usages_are_read_from_their_own_extensions() -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), name_of("SN-1", None)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "data_encipherment",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    made = (
        x509.CertificateBuilder(
            name,
            name,
            key.public_key(),
            7,
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
        )
        .add_extension(x509.SubjectKeyIdentifier(b"subject"), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(b"issuer", None, None), critical=False)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_encipherment=True, key_agreement=True, **usage),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    read = certificate_of(made.public_bytes(Encoding.DER))
    assert (read.subject_key_id, read.authority_key_id) == (b"subject".hex(), b"issuer".hex())
    assert read.key_usage == ("digital_signature", "key_encipherment", "key_agreement")
    assert [one.critical for one in read.extensions] == [False, False, True]


def test_keys_are_named_and_weighed() -> None:
    assert key_algorithm_of(ec.generate_private_key(ec.SECP384R1()).public_key()) == "ec-secp384r1"
    assert key_algorithm_of(rsa.generate_private_key(65537, 1024).public_key()) == "rsa-1024"
    assert key_algorithm_of(ed25519.Ed25519PrivateKey.generate().public_key()) == "ed25519"
    for name in ("ec-secp256r1", "ec-secp521r1", "ec-brainpoolP256r1", "rsa-2048", "ed25519", "ed448"):
        assert key_strength_problem(name) is None, name
    for name in ("rsa-1024", "ec-secp192r1", "ec-sect163k1", "unknown"):
        assert key_strength_problem(name), name
