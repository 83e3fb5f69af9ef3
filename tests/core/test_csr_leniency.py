"""Any charger must be able to talk: oddly dressed and oddly encoded CSRs are read, and what is wrong in earnest is refused."""

from __future__ import annotations

import base64
import hashlib
import string
import textwrap
from contextlib import suppress

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors.check import csr as check
from bfactors.check.finding import Finding
from bfactors.der import certificate_fields, element, elements, oid_text
from bfactors.distinguished_name import as_text, comparable, values
from bfactors.policy import Policy
from bfactors.purpose import purpose
from bfactors.x509 import (
    MalformedX509,
    certificate_of,
    csr_of,
    hash_data,
    normalised_csr,
    parse_csr,
    proves_possession,
)
from tests.core.x509_maker import Authority

KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
CN, ORGANIZATION, COUNTRY = "550403", "55040a", "550406"
UTF8, PRINTABLE, T61, IA5, BMP, UNIVERSAL, NUMERIC, VISIBLE, GENERAL = (
    0x0C, 0x13, 0x14, 0x16, 0x1E, 0x1C, 0x12, 0x1A, 0x1B,
)  # fmt: skip
VERSION = b"\x02\x01\x00"
NO_ATTRIBUTES = b"\xa0\x00"
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
REQUEST, REQUEST_OF_MICROSOFT = "2a864886f70d01090e", "2b06010401823702010e"
KEY_USAGE = element(0x06, bytes.fromhex("551d0f")), element(0x04, bytes.fromhex("03020780"))
CA_TRUE = element(0x30, element(0x06, bytes.fromhex("551d13")) + element(0x04, bytes.fromhex("30030101ff")))
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def part(oid: str, text: str | bytes, tag: int = UTF8) -> bytes:
    """One AttributeTypeAndValue."""
    content = text if isinstance(text, bytes) else text.encode()
    return element(0x30, element(0x06, bytes.fromhex(oid)) + element(tag, content))


def name(*relative: bytes) -> bytes:
    """A Name; each relative name is the attributes of one set."""
    return element(0x30, b"".join(element(0x31, one) for one in relative))


SUBJECT = name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1"))


def csr(
    *,
    version: bytes = VERSION,
    subject: bytes = SUBJECT,
    attributes: bytes = NO_ATTRIBUTES,
    algorithm: bytes = ECDSA_SHA256,
    spki: bytes = SPKI,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> bytes:
    """A CSR made by hand and signed over exactly what was made."""
    info = element(0x30, version + subject + spki + attributes)
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    return element(0x30, info + algorithm + element(0x03, b"\0" + signature))


def requesting(*extensions: bytes, oid: str = REQUEST) -> bytes:
    """The attribute that asks for extensions."""
    wanted = element(0x31, element(0x30, b"".join(extensions)))
    return element(0x30, element(0x06, bytes.fromhex(oid)) + wanted)


def finding(der: bytes, **changed: object) -> Finding | None:
    """What the ledger's checks say to it."""
    candidate = check.Candidate(
        request=csr_of(der),
        purpose=purpose("charging_station"),
        policy=Policy(),
        managed_identity_id="unit-1",
        expected_common_name="SN-1",
        organization="BetterFleet",
        key_owner=None,
    )
    return check.first_finding(msgspec.structs.replace(candidate, **changed))


def reason(der: bytes, **changed: object) -> str | None:
    found = finding(der, **changed)
    return found.reason if found else None


PLAIN = csr()
PEM = "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n"


def test_the_csr_made_by_hand_is_one_that_cryptography_accepts() -> None:
    loaded = x509.load_der_x509_csr(PLAIN)
    assert loaded.is_signature_valid
    assert (
        loaded.subject.rfc4514_string() == parse_csr(normalised_csr(base64.b64encode(PLAIN).decode())).subject
    )


# ---------------------------------------------------------------- dressing

LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", "CERTIFICATEREQUEST", "certificate request")
BREAKS = ("\n", "\r\n", "\r", "\\n", "\\r\\n", "\\\\n", "\\\\r\\\\n", "\n\n", " \n\t")
AROUND = st.text(string.ascii_letters + string.digits + " :=,.\n", max_size=60)


@st.composite
def dressed(draw: st.DrawFn, der: bytes) -> str:
    """Any dressing a charger might use for this DER."""
    body = base64.b64encode(der).decode()
    if draw(st.booleans()):
        body = body.rstrip("=")
    if draw(st.booleans()):
        body = body.replace("+", "-").replace("/", "_")
    slash = draw(st.sampled_from(("/", "\\/", "\\\\/")))
    end = draw(st.sampled_from(BREAKS))
    width = draw(st.sampled_from((19, 64, 76, 10_000)))
    lines = [body[at : at + width].replace("/", slash) for at in range(0, len(body), width)]
    if draw(st.booleans()):
        return (
            draw(st.sampled_from(("", "\n", " ", "\ufeff", '"')))
            + end.join(lines)
            + draw(st.sampled_from(("", "\n", "\0", " \n", '"')))
        )
    begun, ended = draw(st.sampled_from(LABELS)), draw(st.sampled_from(LABELS))
    headers = ["X-Serial: 7", ""] if draw(st.booleans()) else []
    block = end.join([f"-----BEGIN {begun}-----", *headers, *lines, f"-----END {ended}-----"])
    text = draw(AROUND) + draw(st.sampled_from(("", end))) + block + draw(st.sampled_from(("", end)))
    return text + draw(AROUND)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_however_a_csr_is_dressed_its_der_reaches_the_ca_unaltered(data: st.DataObject) -> None:
    text = data.draw(dressed(PLAIN))
    assert parse_csr(text).der == PLAIN
    clean = normalised_csr(text)
    assert base64.b64decode("".join(clean.splitlines()[1:-1])) == PLAIN
    assert normalised_csr(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(PEM.format(base64.b64encode(PLAIN).decode()).encode()).decode(),
        PEM.format(
            "Subject: CN=SN-1\r\nX-Made-By: me\r\n"
            + "\r\n".join(textwrap.wrap(base64.b64encode(PLAIN).decode(), 64))
        ),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n" + PEM.format(base64.b64encode(PLAIN).decode()),
        PEM.format(base64.b64encode(PLAIN).decode()).replace(" ", ""),
    ],
    ids=["base64 of PEM", "headers without a blank line", "begun twice", "no spaces at all"],
)
def test_worse_dressings_are_understood_too(text: str) -> None:
    assert parse_csr(text).der == PLAIN


@pytest.mark.parametrize(
    "text", ["-----BEGIN A-----" * 3800, "-----END A-----" * 4300, "-" * 65_000, "\\" * 65_000]
)
def test_text_that_means_ill_is_refused_in_one_pass(text: str) -> None:
    with pytest.raises(MalformedX509):
        parse_csr(text)


# ---------------------------------------------------------------- PKCS#10

ODD_WRAPPINGS = {
    "version 1": csr(version=b"\x02\x01\x01"),
    "version 2": csr(version=b"\x02\x01\x02"),
    "version -1": csr(version=b"\x02\x01\xff"),
    "version 0 in two octets": csr(version=b"\x02\x02\x00\x00"),
    "a version of five octets": csr(version=b"\x02\x05\x80\0\0\0\0"),
    "no attributes": csr(attributes=b""),
    "an empty extension request": csr(attributes=element(0xA0, requesting())),
    "an extension request without a value": csr(
        attributes=element(0xA0, element(0x30, element(0x06, bytes.fromhex(REQUEST)) + b"\x31\x00"))
    ),
    "a challenge password": csr(
        attributes=element(
            0xA0, element(0x30, bytes.fromhex("06092a864886f70d010907") + b"\x31\x04\x0c\x02pw")
        )
    ),
    "ECDSA with NULL parameters": csr(algorithm=bytes.fromhex("300c06082a8648ce3d0403020500")),
    "critical written out as FALSE": csr(
        attributes=element(0xA0, requesting(element(0x30, KEY_USAGE[0] + b"\x01\x01\x00" + KEY_USAGE[1])))
    ),
    "critical as 1": csr(
        attributes=element(0xA0, requesting(element(0x30, KEY_USAGE[0] + b"\x01\x01\x01" + KEY_USAGE[1])))
    ),
    "asked for the Microsoft way": csr(
        attributes=element(0xA0, requesting(element(0x30, b"".join(KEY_USAGE)), oid=REQUEST_OF_MICROSOFT))
    ),
    "a compressed point": csr(
        spki=element(
            0x30,
            elements(elements(SPKI)[0].content)[0].whole
            + element(
                0x03, b"\0" + KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
            ),
        )
    ),
}


@pytest.mark.parametrize("der", ODD_WRAPPINGS.values(), ids=ODD_WRAPPINGS.keys())
def test_an_odd_wrapping_is_no_reason_to_refuse(der: bytes) -> None:
    assert proves_possession(der)
    assert finding(der) is None
    request = csr_of(der)
    assert request.der == der
    assert request.fingerprint_sha256 == hashlib.sha256(der).hexdigest()
    assert (request.common_name, request.key_algorithm, request.signature_hash) == (
        "SN-1",
        "ec-secp256r1",
        "sha256",
    )
    text = normalised_csr("\\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64)))
    assert base64.b64decode("".join(text.splitlines()[1:-1])) == der, "what a CA is handed"


def test_critical_is_read_as_it_was_meant() -> None:
    def requested(case: str) -> list[bool]:
        return [extension.critical for extension in csr_of(ODD_WRAPPINGS[case]).requested]

    assert requested("critical written out as FALSE") == [False]
    assert requested("critical as 1") == [True]
    assert requested("asked for the Microsoft way") == [False]


@pytest.mark.parametrize("case", ["version 1", "no attributes", "ECDSA with NULL parameters"])
def test_possession_is_proved_over_the_original_octets_only(case: str) -> None:
    """Signed over the tidy form, but sent in the odd one: that is another text than was signed."""
    info, algorithm, signature = (one.whole for one in elements(elements(PLAIN)[0].content))
    assert proves_possession(element(0x30, info + algorithm + signature))
    odd_info, odd_algorithm, _ = (one.whole for one in elements(elements(ODD_WRAPPINGS[case])[0].content))
    if odd_info != info:
        assert not proves_possession(element(0x30, odd_info + odd_algorithm + signature))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ODD_WRAPPINGS)), st.data())
def test_no_octet_of_an_odd_csr_can_be_changed_after_it_was_signed(case: str, data: st.DataObject) -> None:
    der = bytearray(ODD_WRAPPINGS[case])
    signed = elements(elements(bytes(der))[0].content)[0].whole
    start = bytes(der).index(signed)
    at = data.draw(st.integers(start, start + len(signed) - 1))
    der[at] ^= data.draw(st.integers(1, 255))
    with suppress(MalformedX509):
        assert not proves_possession(bytes(der))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ODD_WRAPPINGS)), st.data())
def test_a_damaged_odd_csr_is_read_or_refused(case: str, data: st.DataObject) -> None:
    der = bytearray(ODD_WRAPPINGS[case])
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    del der[data.draw(st.integers(1, len(der))) :]
    with suppress(MalformedX509):
        csr_of(bytes(der))
        proves_possession(bytes(der))


def test_a_signature_whose_numbers_look_negative_still_proves_possession() -> None:
    info = elements(elements(PLAIN)[0].content)[0].whole
    while True:
        r, s = decode_dss_signature(KEY.sign(info, ec.ECDSA(hashes.SHA256())))
        if r >> 255 and s >> 248:
            break
    bare = element(0x30, element(0x02, r.to_bytes(32, "big")) + element(0x02, s.to_bytes(32, "big")))
    assert proves_possession(element(0x30, info + ECDSA_SHA256 + element(0x03, b"\0" + bare)))
    other = element(0x30, element(0x02, (r ^ 1).to_bytes(32, "big")) + element(0x02, s.to_bytes(32, "big")))
    assert not proves_possession(element(0x30, info + ECDSA_SHA256 + element(0x03, b"\0" + other)))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert not proves_possession(element(0x30, info + ECDSA_SHA256 + element(0x03, b"\0" + raw)))


@pytest.mark.parametrize(
    ("key", "kind"),
    [(RSA_KEY, "rsa-2048"), (ed25519.Ed25519PrivateKey.generate(), "ed25519")],
    ids=["RSA", "Ed25519"],
)
@pytest.mark.parametrize("pss", [False, True])
def test_every_kind_of_signature_is_checked(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, kind: str, pss: bool
) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SN-1")])
    )
    if isinstance(key, rsa.RSAPrivateKey):
        how = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else padding.PKCS1v15()
        made = builder.sign(key, hashes.SHA256(), rsa_padding=how)
    else:
        made = builder.sign(key, None)
    der = made.public_bytes(Encoding.DER)
    assert proves_possession(der)
    assert csr_of(der).key_algorithm == kind
    forged = bytearray(der)
    forged[-1] ^= 1
    assert not proves_possession(bytes(forged))


# ---------------------------------------------------------------- what stays refused


@pytest.mark.parametrize(
    ("der", "expected"),
    [
        (csr(key=ec.generate_private_key(ec.SECP256R1())), "csr-signature-invalid"),
        (csr(version=b"\x02\x01\x01", key=ec.generate_private_key(ec.SECP256R1())), "csr-signature-invalid"),
        (csr(attributes=element(0xA0, requesting(CA_TRUE))), "csr-asks-for-ca"),
        (csr(attributes=element(0xA0, requesting(CA_TRUE, oid=REQUEST_OF_MICROSOFT))), "csr-asks-for-ca"),
        (
            csr(
                attributes=element(
                    0xA0, requesting(element(0x30, b"".join(KEY_USAGE))) + requesting(CA_TRUE)
                )
            ),
            "csr-asks-for-ca",
        ),
        (csr(subject=name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-2"))), "csr-subject-mismatch"),
        (
            csr(subject=name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1"), part(CN, "SN-2"))),
            "csr-subject-mismatch",
        ),
        (csr(subject=name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1\0"))), "csr-subject-mismatch"),
        (csr(subject=name(part(ORGANIZATION, "Other"), part(CN, "SN-1"))), "csr-organization-mismatch"),
        (csr(subject=element(0x30, b"")), "csr-subject-mismatch"),
    ],
    ids=[
        "another key signed", "another key signed, odd version", "CA", "CA the Microsoft way", "CA in a second request",
        "another CN", "a second CN", "a NUL in CN", "another O", "no name",
    ],
)  # fmt: skip
def test_what_is_wrong_in_earnest_is_refused_with_its_reason(der: bytes, expected: str) -> None:
    assert reason(der) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (rsa.generate_private_key(65537, 1024), "csr-key-too-weak"),
        (ec.generate_private_key(ec.SECP192R1()), "csr-key-too-weak"),
        (ec.generate_private_key(ec.SECP256K1()), "csr-key-not-allowed"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "csr-key-not-allowed"),
        (ec.generate_private_key(ec.SECP224R1()), "csr-key-not-allowed"),
    ],
)
def test_weak_keys_and_wrong_curves_stay_refused(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, expected: str
) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SN-1")])
    der = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    assert reason(der) == expected


@pytest.mark.parametrize(
    "der",
    [
        csr(attributes=element(0xA0, requesting(CA_TRUE, CA_TRUE))),
        csr(attributes=element(0xA0, requesting(CA_TRUE) + requesting(CA_TRUE))),
        csr(version=b""),
        csr(attributes=b"\x31\x00"),
        csr(attributes=NO_ATTRIBUTES + NO_ATTRIBUTES),
        PLAIN + b"\0",
        PLAIN[:-1],
        b"\x30\x80" + PLAIN[3:] + b"\0\0",
        csr(subject=name(part(CN, b"S", BMP))),
        csr(subject=element(0x30, part(CN, "SN-1"))),
        csr(spki=element(0x30, elements(elements(SPKI)[0].content)[0].whole + element(0x03, b"\0\4"))),
    ],
    ids=[
        "an extension twice", "an extension in two requests", "no version", "attributes as a set", "attributes twice",
        "octets behind the end", "cut short", "indefinite length", "half a character", "a name without sets", "no point",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_no_csr(der: bytes) -> None:
    with pytest.raises(MalformedX509):
        csr_of(der)
    assert isinstance(check.read(base64.b64encode(der).decode()), Finding)


def test_an_rsa_modulus_that_looks_negative_is_no_key() -> None:
    numbers = RSA_KEY.public_key().public_numbers()
    bits = element(0x30, element(0x02, numbers.n.to_bytes(256, "big")) + element(0x02, b"\1\0\1"))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    der = csr(spki=element(0x30, algorithm + element(0x03, b"\0" + bits)))
    with pytest.raises(MalformedX509):
        csr_of(der)


# ---------------------------------------------------------------- names

NAMES = {
    "UTF8String": name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1", UTF8)),
    "PrintableString": name(part(ORGANIZATION, "BetterFleet", PRINTABLE), part(CN, "SN-1", PRINTABLE)),
    "T61String": name(part(ORGANIZATION, "BetterFleet", T61), part(CN, "SN-1", T61)),
    "IA5String": name(part(ORGANIZATION, "BetterFleet", IA5), part(CN, "SN-1", IA5)),
    "VisibleString": name(part(ORGANIZATION, "BetterFleet", VISIBLE), part(CN, "SN-1", VISIBLE)),
    "GeneralString": name(part(ORGANIZATION, "BetterFleet", GENERAL), part(CN, "SN-1", GENERAL)),
    "BMPString": name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1".encode("utf-16-be"), BMP)),
    "UniversalString": name(
        part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1".encode("utf-32-be"), UNIVERSAL)
    ),
    "in another order": name(
        part(CN, "SN-1"), part(COUNTRY, "NO", PRINTABLE), part(ORGANIZATION, "BetterFleet")
    ),
    "side by side": name(part(CN, "SN-1") + part(ORGANIZATION, "BetterFleet")),
    "side by side, out of order": name(part(ORGANIZATION, "BetterFleet") + part(CN, "SN-1")),
    "the same side by side": name(part(ORGANIZATION, "BetterFleet") * 2, part(CN, "SN-1")),
    "the same CN twice": name(part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1"), part(CN, "sn-1")),
    "two organizations": name(
        part(ORGANIZATION, "Maker"), part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1")
    ),
    "spaces around": name(part(ORGANIZATION, " BetterFleet "), part(CN, "  SN-1 ")),
    "another case": name(part(ORGANIZATION, "BETTERFLEET"), part(CN, "sn-1")),
    "an empty set": name(b"", part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1")),
    "a country of three letters": name(
        part(COUNTRY, "NOR", PRINTABLE), part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1")
    ),
    "an empty part": name(part(COUNTRY, ""), part(ORGANIZATION, "BetterFleet"), part(CN, "SN-1")),
}


@pytest.mark.parametrize("subject", NAMES.values(), ids=NAMES.keys())
def test_a_name_is_read_however_it_is_encoded(subject: bytes) -> None:
    der = csr(subject=subject)
    assert finding(der) is None
    assert csr_of(der).der == der


@pytest.mark.parametrize(
    ("text", "tag", "expected"),
    [
        (b"SN_1*@", PRINTABLE, "SN_1*@"),
        ("SøN".encode(), PRINTABLE, "SøN"),
        ("SøN".encode("latin-1"), PRINTABLE, "SøN"),
        ("SøN".encode("latin-1"), T61, "SøN"),
        ("SøN".encode("latin-1"), UTF8, "SøN"),
        ("SøN".encode("utf-16-be"), BMP, "SøN"),
        (b"12 34", NUMERIC, "12 34"),
        (b"S" * 70, UTF8, "S" * 70),
    ],
)
def test_characters_a_string_type_may_not_have_are_read_all_the_same(
    text: bytes, tag: int, expected: str
) -> None:
    der = csr(subject=name(part(ORGANIZATION, "BetterFleet"), part(CN, text, tag)))
    assert csr_of(der).common_name == expected
    assert finding(der, expected_common_name=expected) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.SERIAL_NUMBER, NameOID.USER_ID]
            ),
            st.text(min_size=1, max_size=20),
        ),
        max_size=5,
    )
)
def test_a_proper_name_reads_as_cryptography_reads_it(parts: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    made = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
    der = made.public_bytes()
    assert as_text(der) == made.rfc4514_string()
    assert values(der, "2.5.4.3") == tuple(value for oid, value in parts if oid == NameOID.COMMON_NAME)


@pytest.mark.parametrize("char", list(',+"\\<>;#= \0ß'))
@pytest.mark.parametrize("around", ["{}SN", "SN{}SN", "SN{}"])
def test_what_must_be_escaped_is_wherever_it_stands(char: str, around: str) -> None:
    made = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, around.format(char))])
    assert as_text(made.public_bytes()) == made.rfc4514_string()


@given(st.text(max_size=30))
def test_case_and_spaces_do_not_make_another_name(text: str) -> None:
    assert comparable(f"  {text} ") == comparable(text)
    assert comparable(comparable(text)) == comparable(text)


@given(st.text(alphabet="Ab09._:/- #,+\\", max_size=12))
def test_a_plain_name_is_compared_as_any_other_is(text: str) -> None:
    spaced = " ".join(part for part in text.split(" ") if part)
    assert comparable(text) == spaced.lower() == comparable(text.swapcase())
    assert (comparable(text) == comparable(text + "\u00df")) is False


def test_other_characters_make_another_name() -> None:
    assert len({comparable(text) for text in ("SN-1", "SN-2", "SN1", "SN 1", "SN-1\0", "SN-1\n", "")}) == 7


# ---------------------------------------------------------------- serial numbers


@settings(max_examples=60, deadline=None)
@given(st.integers(1, (1 << 159) - 1))
def test_a_serial_number_is_positive_hex_without_leading_zeros(number: int) -> None:
    certificate = certificate_of(_root(number))
    assert certificate.serial_number == f"{number:x}"
    assert hash_data(certificate, certificate).serial_number == f"{number:x}"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("octets", [20, 8, 1])
def test_a_serial_number_with_its_high_bit_set_is_named_by_its_octets(octets: int) -> None:
    number = (1 << (8 * octets - 2)) + 5
    whole = element(0x02, number.to_bytes(octets, "big"))
    der = _root(number)
    certificate = certificate_of(der.replace(whole, bytes([*whole[:2], whole[2] | 0x80, *whole[3:]]), 1))
    assert certificate.serial_number == f"{number | 1 << (8 * octets - 1):x}"
    assert certificate_fields(certificate.der).serial_number > 0
    assert hash_data(certificate, certificate, "SHA512").serial_number == certificate.serial_number


ROOT = Authority.root()


def _root(serial_number: int) -> bytes:
    made = ROOT.pair.certificate
    return (
        x509.CertificateBuilder()
        .subject_name(made.subject)
        .issuer_name(made.subject)
        .public_key(ROOT.pair.key.public_key())
        .serial_number(serial_number)
        .not_valid_before(made.not_valid_before_utc)
        .not_valid_after(made.not_valid_after_utc)
        .sign(ROOT.pair.key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


# ---------------------------------------------------------------- DER


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=6))
def test_elements_are_cut_as_they_were_put_together(parts: list[tuple[int, bytes]]) -> None:
    cut = elements(b"".join(element(tag, content) for tag, content in parts))
    assert [(one.tag, one.content) for one in cut] == parts


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_any_octets_are_cut_whole_or_refused(der: bytes) -> None:
    try:
        cut = elements(der)
    except ValueError:
        return
    assert b"".join(one.whole for one in cut) == der


def test_object_identifiers_are_read_as_dotted_numbers() -> None:
    for dotted in (
        "2.5.4.3",
        "1.2.840.113549.1.9.14",
        "0.9.2342.19200300.100.1.25",
        "2.999.3",
        "2.25.340282366920938463",
    ):
        made = x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), b"")
        first, second, *rest = map(int, dotted.split("."))
        content = b"".join(_arc(arc) for arc in (40 * first + second, *rest))
        assert oid_text(content) == dotted == made.oid.dotted_string
    for damaged in (b"", b"\x81"):
        with pytest.raises(ValueError, match="cut short"):
            oid_text(damaged)


def _arc(number: int) -> bytes:
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(number & 0x7F | 0x80)
    return bytes(reversed(octets))
