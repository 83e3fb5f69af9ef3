"""The typed requests of AWS Private CA, with the limits that the service itself enforces.

Field limits, patterns and enumerations follow the service model (botocore acm-pca 2017-08-22). A client
checks only part of them, so the peer checks all: what breaks one is a ValidationException. Unknown fields
are ignored, as the service does.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from simulator.aws.service_error import ServiceError

Arn = Annotated[str, Meta(min_length=5, max_length=200)]
ObjectId = Annotated[str, Meta(max_length=64, pattern=r"^[0-2]\.([0-9]|[0-3][0-9])(\.[0-9]+){0,126}$")]
Printable = Annotated[str, Meta(max_length=64, pattern=r"^[a-zA-Z0-9'()+\-.?:/= ]*$")]
Text = Annotated[str, Meta(max_length=256)]
ValidityType = Literal["END_DATE", "ABSOLUTE", "DAYS", "MONTHS", "YEARS"]
SigningAlgorithm = Literal[
    "SHA256WITHECDSA", "SHA384WITHECDSA", "SHA512WITHECDSA", "SHA256WITHRSA", "SHA384WITHRSA", "SHA512WITHRSA",
    "SM3WITHSM2", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87",
]  # fmt: skip
UsageName = Literal[
    "SERVER_AUTH", "CLIENT_AUTH", "CODE_SIGNING", "EMAIL_PROTECTION", "TIME_STAMPING", "OCSP_SIGNING",
    "SMART_CARD_LOGIN", "DOCUMENT_SIGNING", "CERTIFICATE_TRANSPARENCY",
]  # fmt: skip
RevocationReason = Literal[
    "UNSPECIFIED", "KEY_COMPROMISE", "CERTIFICATE_AUTHORITY_COMPROMISE", "AFFILIATION_CHANGED", "SUPERSEDED",
    "CESSATION_OF_OPERATION", "PRIVILEGE_WITHDRAWN", "A_A_COMPROMISE",
]  # fmt: skip


AnyShape = TypeVar("AnyShape", bound="Shape")


class Shape(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Base of every request structure: PascalCase on the wire."""


class Validity(Shape, frozen=True, kw_only=True):
    """An end (or start) of validity; the meaning of `value` depends on `type`."""

    value: Annotated[int, Meta(ge=1)]
    type: ValidityType


class CustomAttribute(Shape, frozen=True, kw_only=True):
    """One relative distinguished name given by its object identifier."""

    object_identifier: ObjectId
    value: Annotated[str, Meta(min_length=1, max_length=256)]


class Asn1Subject(Shape, frozen=True, kw_only=True):
    """A distinguished name; `custom_attributes` excludes every other member."""

    country: Annotated[str, Meta(pattern=r"^[A-Za-z]{2}$")] | None = None
    organization: Annotated[str, Meta(max_length=64)] | None = None
    organizational_unit: Annotated[str, Meta(max_length=64)] | None = None
    distinguished_name_qualifier: Printable | None = None
    state: Annotated[str, Meta(max_length=128)] | None = None
    common_name: Annotated[str, Meta(max_length=64)] | None = None
    serial_number: Printable | None = None
    locality: Annotated[str, Meta(max_length=128)] | None = None
    title: Annotated[str, Meta(max_length=64)] | None = None
    surname: Annotated[str, Meta(max_length=40)] | None = None
    given_name: Annotated[str, Meta(max_length=16)] | None = None
    initials: Annotated[str, Meta(max_length=5)] | None = None
    pseudonym: Annotated[str, Meta(max_length=128)] | None = None
    generation_qualifier: Annotated[str, Meta(max_length=3)] | None = None
    custom_attributes: Annotated[list[CustomAttribute], Meta(min_length=1, max_length=150)] | None = None


class OtherName(Shape, frozen=True, kw_only=True):
    """A name of a type known only to its object identifier; the value travels as UTF8String."""

    type_id: ObjectId
    value: Text


class GeneralName(Shape, frozen=True, kw_only=True):
    """Exactly one member is set."""

    other_name: OtherName | None = None
    rfc822_name: Text | None = None
    dns_name: Annotated[str, Meta(max_length=253)] | None = None
    directory_name: Asn1Subject | None = None
    edi_party_name: dict[str, Any] | None = None
    uniform_resource_identifier: Annotated[str, Meta(max_length=253)] | None = None
    ip_address: Annotated[str, Meta(max_length=39)] | None = None
    registered_id: ObjectId | None = None


class Qualifier(Shape, frozen=True, kw_only=True):
    """Where the certification practice statement lies."""

    cps_uri: Text


class PolicyQualifier(Shape, frozen=True, kw_only=True):
    """The one kind of qualifier the service knows."""

    policy_qualifier_id: Literal["CPS"]
    qualifier: Qualifier


class PolicyInformation(Shape, frozen=True, kw_only=True):
    """One certificate policy."""

    cert_policy_id: ObjectId
    policy_qualifiers: Annotated[list[PolicyQualifier], Meta(min_length=1, max_length=20)] | None = None


class ExtendedKeyUsage(Shape, frozen=True, kw_only=True):
    """A usage by name or by object identifier, never both."""

    extended_key_usage_type: UsageName | None = None
    extended_key_usage_object_identifier: ObjectId | None = None


class KeyUsage(Shape, frozen=True, kw_only=True):
    """The nine bits of RFC 5280 4.2.1.3."""

    digital_signature: bool = False
    non_repudiation: bool = False
    key_encipherment: bool = False
    data_encipherment: bool = False
    key_agreement: bool = False
    key_cert_sign: bool = False
    crl_sign: bool = field(name="CRLSign", default=False)
    encipher_only: bool = False
    decipher_only: bool = False


class CustomExtension(Shape, frozen=True, kw_only=True):
    """An extension as its DER value, base64 on the wire."""

    object_identifier: ObjectId
    value: Annotated[str, Meta(min_length=1, max_length=4096)]
    critical: bool = False


class Extensions(Shape, frozen=True, kw_only=True):
    """Extensions the caller asks for."""

    certificate_policies: Annotated[list[PolicyInformation], Meta(min_length=1, max_length=20)] | None = None
    extended_key_usage: Annotated[list[ExtendedKeyUsage], Meta(min_length=1, max_length=20)] | None = None
    key_usage: KeyUsage | None = None
    subject_alternative_names: Annotated[list[GeneralName], Meta(min_length=1, max_length=150)] | None = None
    custom_extensions: Annotated[list[CustomExtension], Meta(min_length=1, max_length=150)] | None = None


class ApiPassthrough(Shape, frozen=True, kw_only=True):
    """What the caller wants in the certificate beside the CSR; silently ignored by templates without API passthrough."""

    extensions: Extensions | None = None
    subject: Asn1Subject | None = None


class IssueCertificate(Shape, frozen=True, kw_only=True):
    """`csr` is the PEM text of a PKCS #10 request, base64 once more on the wire."""

    certificate_authority_arn: Arn
    csr: Annotated[bytes, Meta(min_length=1, max_length=32768)]
    signing_algorithm: SigningAlgorithm
    validity: Validity
    validity_not_before: Validity | None = None
    template_arn: Arn | None = None
    api_passthrough: ApiPassthrough | None = None
    idempotency_token: Annotated[str, Meta(min_length=1, max_length=36)] | None = None


class GetCertificate(Shape, frozen=True, kw_only=True):
    """Asks for an issued certificate and its chain."""

    certificate_authority_arn: Arn
    certificate_arn: Arn


class RevokeCertificate(Shape, frozen=True, kw_only=True):
    """`certificate_serial` is hexadecimal, with or without colons."""

    certificate_authority_arn: Arn
    certificate_serial: Annotated[str, Meta(max_length=128)]
    revocation_reason: RevocationReason


class AuthorityRequest(Shape, frozen=True, kw_only=True):
    """The request of every operation that names one authority and nothing else."""

    certificate_authority_arn: Arn


class ListCertificateAuthorities(Shape, frozen=True, kw_only=True):
    """A page of authorities."""

    max_results: Annotated[int, Meta(ge=1, le=1000)] | None = None
    next_token: Annotated[str, Meta(min_length=1, max_length=43739)] | None = None
    resource_owner: Literal["SELF", "OTHER_ACCOUNTS"] = "SELF"


class CreateAuditReport(Shape, frozen=True, kw_only=True):
    """Asks for a report of everything an authority issued."""

    certificate_authority_arn: Arn
    s3_bucket_name: Annotated[str, Meta(min_length=3, max_length=63)]
    audit_report_response_format: Literal["JSON", "CSV"]


class DescribeAuditReport(Shape, frozen=True, kw_only=True):
    """Asks how far a report is."""

    certificate_authority_arn: Arn
    audit_report_id: Annotated[
        str, Meta(min_length=36, max_length=36, pattern=r"^[a-z0-9]{8}(-[a-z0-9]{4}){3}-[a-z0-9]{12}$")
    ]


def parse(body: bytes, kind: type[AnyShape]) -> AnyShape:
    """The request in `body`.

    Raises: ServiceError SerializationException (no JSON), ValidationException (a limit is broken).
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise ServiceError("ValidationException", f"1 validation error detected: {error}") from error
    except msgspec.DecodeError as error:
        raise ServiceError("SerializationException", "the request body is not JSON") from error
