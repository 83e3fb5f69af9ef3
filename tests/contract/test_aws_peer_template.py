"""What the AWS peer puts into certificates: templates, their order of precedence, names and validity."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from tests.contract.test_aws_peer_client import (
    CHARGER,
    KEY,
    Desk,
    error_code,
    make_csr,
    open_desk,
    template_arn,
)

SERVER, CLIENT = Usage.SERVER_AUTH, Usage.CLIENT_AUTH
FAMILIES = {
    "EndEntityCertificate": [SERVER, CLIENT],
    "EndEntityClientAuthCertificate": [CLIENT],
    "EndEntityServerAuthCertificate": [SERVER],
}
VARIETIES = ("", "_APIPassthrough", "_CSRPassthrough", "_APICSRPassthrough")
CUSTOM_OID = "1.3.6.1.4.1.55555.1"
API = {
    "Subject": {"CommonName": "from-api", "Organization": "Api Org", "Country": "DE"},
    "Extensions": {
        "ExtendedKeyUsage": [{"ExtendedKeyUsageType": "CODE_SIGNING"}],
        "KeyUsage": {"DigitalSignature": True, "KeyAgreement": True},
        "SubjectAlternativeNames": [{"DnsName": "api.example"}, {"IpAddress": "192.0.2.7"}],
        "CertificatePolicies": [
            {
                "CertPolicyId": "1.3.6.1.4.1.55555.2",
                "PolicyQualifiers": [
                    {"PolicyQualifierId": "CPS", "Qualifier": {"CpsUri": "https://cps.example"}}
                ],
            }
        ],
        "CustomExtensions": [
            {"ObjectIdentifier": CUSTOM_OID, "Value": b64encode(b"\x05\x00").decode(), "Critical": False}
        ],
    },
}
FROM_CSR: list[tuple[x509.ExtensionType, bool]] = [
    (x509.SubjectAlternativeName([x509.DNSName("csr.example")]), False),
    (x509.ExtendedKeyUsage([Usage.EMAIL_PROTECTION]), False),
    (x509.BasicConstraints(ca=True, path_length=None), True),
    (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
    (x509.UnrecognizedExtension(x509.ObjectIdentifier(CUSTOM_OID), b"\x04\x00"), False),
]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, realms=(CHARGER,)) as opened:
        yield opened


def usages(leaf: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def dns_names(leaf: x509.Certificate) -> list[str]:
    value = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return value.get_values_for_type(x509.DNSName)


def has(leaf: x509.Certificate, kind: type[x509.ExtensionType]) -> bool:
    return any(isinstance(extension.value, kind) for extension in leaf.extensions)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variety", VARIETIES)
async def test_a_template_wins_over_the_api_and_the_api_over_the_csr(
    desk: Desk, family: str, variety: str
) -> None:
    leaf = await desk.issued(
        Csr=make_csr(extensions=FROM_CSR), TemplateArn=template_arn(family + variety), ApiPassthrough=API
    )
    assert usages(leaf) == FAMILIES[family]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_encipherment) == (True, True)
    assert not usage.value.key_agreement
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    from_api, from_csr = "API" in variety, "CSR" in variety
    assert dns_names(leaf) == (["api.example"] if from_api else ["csr.example"])
    expected = "CN=from-api,O=Api Org,C=DE" if from_api else "CN=CS-1,O=Operator"
    assert leaf.subject.rfc4514_string() == expected
    assert has(leaf, x509.TLSFeature) is from_csr
    assert has(leaf, x509.CertificatePolicies) is from_api
    custom = [item.value for item in leaf.extensions if item.oid.dotted_string == CUSTOM_OID]
    if from_api or from_csr:
        assert isinstance(custom[0], x509.UnrecognizedExtension)
        assert custom[0].value == (b"\x05\x00" if from_api else b"\x04\x00")
    else:
        assert custom == []
    issuer_key = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert issuer_key.key_identifier is not None
    subject_key = leaf.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert subject_key == x509.SubjectKeyIdentifier.from_public_key(KEY.public_key())


async def test_without_a_template_a_certificate_is_for_servers_and_clients(desk: Desk) -> None:
    assert usages(await desk.issued(TemplateArn=None)) == [SERVER, CLIENT]


@pytest.mark.parametrize(
    ("name", "critical"),
    [
        ("BlankEndEntityCertificate_APIPassthrough", False),
        ("BlankEndEntityCertificate_CriticalBasicConstraints_APIPassthrough", True),
    ],
)
async def test_a_blank_template_fixes_basic_constraints_only(desk: Desk, name: str, critical: bool) -> None:
    bare = await desk.issued(TemplateArn=template_arn(name))
    assert not has(bare, x509.KeyUsage)
    assert not has(bare, x509.ExtendedKeyUsage)
    constraint = bare.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraint.value.ca, constraint.critical) == (False, critical)
    shaped = await desk.issued(TemplateArn=template_arn(name), ApiPassthrough=API)
    assert usages(shaped) == [Usage.CODE_SIGNING]
    assert shaped.extensions.get_extension_for_class(x509.KeyUsage).value.key_agreement
    addresses = shaped.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert addresses.get_values_for_type(x509.IPAddress) == [ip_address("192.0.2.7")]


async def test_an_ocsp_signing_template_makes_that_usage_critical(desk: Desk) -> None:
    leaf = await desk.issued(TemplateArn=template_arn("OCSPSigningCertificate"))
    extension = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (list(extension.value), extension.critical) == ([Usage.OCSP_SIGNING], True)


async def test_a_root_makes_a_subordinate_and_a_subordinate_of_length_zero_does_not(desk: Desk) -> None:
    template, root = template_arn("SubordinateCACertificate_PathLen0"), desk.peer.arns[CHARGER].root_arn
    arn = await desk.issue(CertificateAuthorityArn=root, TemplateArn=template, Csr=make_csr("CN=Sub"))
    subordinate, chain = await desk.get(arn, root)
    subordinate.verify_directly_issued_by(chain[0])
    constraint = subordinate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraint.value.ca, constraint.value.path_length, constraint.critical) == (True, 0, True)
    usage = subordinate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, True)
    with pytest.raises(ClientError) as raised:
        await desk.issue(TemplateArn=template)
    assert error_code(raised) == "InvalidArgsException"


async def test_custom_attributes_make_the_whole_subject_and_do_not_mix_with_others(desk: Desk) -> None:
    custom = [
        {"ObjectIdentifier": "2.5.4.5", "Value": "SN-7"},
        {"ObjectIdentifier": "2.5.4.3", "Value": "WMI123"},
    ]
    template = template_arn("EndEntityClientAuthCertificate_APIPassthrough")
    leaf = await desk.issued(TemplateArn=template, ApiPassthrough={"Subject": {"CustomAttributes": custom}})
    assert [attribute.value for attribute in leaf.subject] == ["SN-7", "WMI123"]
    mixed = {"Subject": {"CommonName": "x", "CustomAttributes": custom}}
    with pytest.raises(ClientError) as raised:
        await desk.issue(TemplateArn=template, ApiPassthrough=mixed)
    assert error_code(raised) == "InvalidArgsException"


async def test_every_kind_of_general_name_can_be_asked_for(desk: Desk) -> None:
    names = [
        {"Rfc822Name": "a@example.org"},
        {"UniformResourceIdentifier": "urn:evse:1"},
        {"RegisteredId": "1.2.3.4"},
        {"DirectoryName": {"CommonName": "dir"}},
        {"OtherName": {"TypeId": "1.2.3.5", "Value": "v" * 200}},
    ]
    leaf = await desk.issued(
        TemplateArn=template_arn("EndEntityCertificate_APIPassthrough"),
        ApiPassthrough={"Extensions": {"SubjectAlternativeNames": names}},
    )
    value = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(list(value)) == 5
    assert value.get_values_for_type(x509.OtherName)[0].value == b"\x0c\x81\xc8" + b"v" * 200
    bad_names: list[dict[str, str]] = [
        {},
        {"DnsName": "a", "IpAddress": "192.0.2.1"},
        {"IpAddress": "no-address"},
    ]
    for bad in bad_names:
        with pytest.raises(ClientError) as raised:
            await desk.issue(
                TemplateArn=template_arn("EndEntityCertificate_APIPassthrough"),
                ApiPassthrough={"Extensions": {"SubjectAlternativeNames": [bad]}},
            )
        assert error_code(raised) == "InvalidArgsException"


FIXED = datetime(2027, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("DAYS", 30, FIXED + timedelta(days=30)),
        ("MONTHS", 1, datetime(2027, 2, 28, 12, tzinfo=UTC)),
        ("YEARS", 1, datetime(2028, 1, 31, 12, tzinfo=UTC)),
        ("ABSOLUTE", int(datetime(2027, 6, 1, tzinfo=UTC).timestamp()), datetime(2027, 6, 1, tzinfo=UTC)),
        ("END_DATE", 20270615101112, datetime(2027, 6, 15, 10, 11, 12, tzinfo=UTC)),
        ("END_DATE", 270615101112, datetime(2027, 6, 15, 10, 11, 12, tzinfo=UTC)),
    ],
)
async def test_every_validity_type_ends_a_certificate_when_it_says(
    tmp_path: Path, kind: str, value: int, expected: datetime
) -> None:
    async with open_desk(tmp_path, realms=(CHARGER,)) as desk:
        desk.peer.clock.freeze()
        desk.peer.clock.advance(FIXED - desk.peer.clock.now())
        leaf = await desk.issued(Validity={"Type": kind, "Value": value})
    assert leaf.not_valid_after_utc == expected
    assert leaf.not_valid_before_utc == FIXED - timedelta(minutes=60)


async def test_a_chosen_start_leaves_the_end_where_it_was(desk: Desk) -> None:
    desk.peer.clock.freeze()
    now = desk.peer.clock.now().replace(microsecond=0)
    start = int((now + timedelta(days=2)).timestamp())
    leaf = await desk.issued(ValidityNotBefore={"Type": "ABSOLUTE", "Value": start})
    assert int(leaf.not_valid_before_utc.timestamp()) == start
    assert leaf.not_valid_after_utc == now + timedelta(days=30)


async def test_no_certificate_outlives_its_authority_not_even_by_a_second(desk: Desk) -> None:
    answer = await desk.pca.describe_certificate_authority(CertificateAuthorityArn=desk.issuing)
    end = int(answer["CertificateAuthority"]["NotAfter"].timestamp())
    leaf = await desk.issued(Validity={"Type": "ABSOLUTE", "Value": end})
    assert int(leaf.not_valid_after_utc.timestamp()) == end
    with pytest.raises(ClientError) as raised:
        await desk.issue(Validity={"Type": "ABSOLUTE", "Value": end + 1})
    assert error_code(raised) == "ValidationException"


def _broken_signature() -> bytes:
    der = bytearray(x509.load_pem_x509_csr(make_csr()).public_bytes(Encoding.DER))
    position = der.index(b"Operator")
    der[position : position + 8] = b"Attacker"
    return (
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(der) + b"\n-----END CERTIFICATE REQUEST-----\n"
    )


def _edwards_csr() -> bytes:
    name = x509.Name.from_rfc4514_string("CN=x")
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)


def _impossible_version() -> bytes:
    der = bytearray(x509.load_pem_x509_csr(make_csr()).public_bytes(Encoding.DER))
    der[der.index(b"\x02\x01\x00") + 2] = 7
    return (
        b"-----BEGIN CERTIFICATE REQUEST-----\n" + b64encode(der) + b"\n-----END CERTIFICATE REQUEST-----\n"
    )


def _unnamed_tls_feature() -> bytes:
    oid = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.24")
    return make_csr(extensions=[(x509.UnrecognizedExtension(oid, b"\x30\x03\x02\x01\x09"), False)])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "garbage csr": ({"Csr": b"not a csr"}, "MalformedCSRException"),
    "csr in DER": ({"Csr": b"\x30\x03\x02\x01\x01"}, "MalformedCSRException"),
    "csr changed after signing": ({"Csr": _broken_signature()}, "MalformedCSRException"),
    "csr with an unsupported key": ({"Csr": _edwards_csr()}, "MalformedCSRException"),
    "csr of an impossible version": ({"Csr": _impossible_version()}, "MalformedCSRException"),
    "csr with an extension nobody can read": ({"Csr": _unnamed_tls_feature()}, "MalformedCSRException"),
    "csr too long": ({"Csr": b"x" * 32769}, "ValidationException"),
    "token too long": ({"IdempotencyToken": "t" * 37}, "ValidationException"),
    "unknown signing algorithm": ({"SigningAlgorithm": "MD5WITHRSA"}, "ValidationException"),
    "signing algorithm of another family": ({"SigningAlgorithm": "SHA256WITHRSA"}, "InvalidArgsException"),
    "unknown template": ({"TemplateArn": template_arn("NoSuchTemplate")}, "InvalidArgsException"),
    "no template ARN": ({"TemplateArn": "arn:aws:s3:::bucket"}, "ValidationException"),
    "validity of an unknown type": ({"Validity": {"Type": "WEEKS", "Value": 1}}, "ValidationException"),
    "validity past any date": ({"Validity": {"Type": "YEARS", "Value": 99999}}, "ValidationException"),
    "validity too large": ({"Validity": {"Type": "ABSOLUTE", "Value": 2**62}}, "ValidationException"),
    "validity in the past": ({"Validity": {"Type": "ABSOLUTE", "Value": 1}}, "ValidationException"),
    "end date of no calendar": (
        {"Validity": {"Type": "END_DATE", "Value": 20271332000000}},
        "ValidationException",
    ),
    "relative start": ({"ValidityNotBefore": {"Type": "DAYS", "Value": 1}}, "ValidationException"),
    "object identifier out of range": (
        {
            "TemplateArn": template_arn("EndEntityCertificate_APIPassthrough"),
            "ApiPassthrough": {"Extensions": {"CertificatePolicies": [{"CertPolicyId": "0.0." + "9" * 60}]}},
        },
        "InvalidArgsException",
    ),
    "authority ARN of no kind": ({"CertificateAuthorityArn": "arn:aws:acm-pca:x"}, "InvalidArnException"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_wrong_request_is_refused_with_the_error_of_the_service(desk: Desk, case: str) -> None:
    changes, code = REFUSED[case]
    with pytest.raises(ClientError) as raised:
        await desk.issue(**changes)
    assert error_code(raised) == code
    assert (await desk.peer_get("stats"))["certificates"][desk.issuing]["issued"] == 0


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP521R1())]
)
async def test_a_csr_of_another_key_type_than_the_authority_is_signed(
    desk: Desk, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
) -> None:
    leaf = await desk.issued(Csr=make_csr(key=key))
    assert leaf.public_key() == key.public_key()
    assert isinstance(leaf.signature_hash_algorithm, hashes.SHA256)
