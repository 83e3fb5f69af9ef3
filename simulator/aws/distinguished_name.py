"""Names given through the API (ASN1Subject, GeneralName) turned into X.509 names."""

from collections.abc import Iterable
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

from simulator.aws.request import Asn1Subject, GeneralName
from simulator.aws.service_error import ServiceError

#: Order in which the service writes the attributes into the name (its audit reports print it reversed).
_ATTRIBUTES = (
    ("country", NameOID.COUNTRY_NAME),
    ("state", NameOID.STATE_OR_PROVINCE_NAME),
    ("locality", NameOID.LOCALITY_NAME),
    ("organization", NameOID.ORGANIZATION_NAME),
    ("organizational_unit", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("common_name", NameOID.COMMON_NAME),
    ("distinguished_name_qualifier", NameOID.DN_QUALIFIER),
    ("title", NameOID.TITLE),
    ("surname", NameOID.SURNAME),
    ("given_name", NameOID.GIVEN_NAME),
    ("initials", NameOID.INITIALS),
    ("pseudonym", NameOID.PSEUDONYM),
    ("generation_qualifier", NameOID.GENERATION_QUALIFIER),
    ("serial_number", NameOID.SERIAL_NUMBER),
)


def to_name(subject: Asn1Subject) -> x509.Name:
    """The X.509 name of an ASN1Subject.

    Raises: ServiceError InvalidArgsException when custom and standard attributes are mixed, or a value
    does not fit its attribute.
    """
    standard = [(oid, getattr(subject, member)) for member, oid in _ATTRIBUTES]
    attributes = [(oid, value) for oid, value in standard if value is not None]
    if subject.custom_attributes is not None:
        if attributes:
            raise ServiceError(
                "InvalidArgsException", "CustomAttributes cannot be combined with other members"
            )
        attributes = [
            (x509.ObjectIdentifier(item.object_identifier), item.value) for item in subject.custom_attributes
        ]
    try:
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    except ValueError as error:
        raise ServiceError("InvalidArgsException", f"the subject cannot be encoded: {error}") from error


def to_general_names(names: Iterable[GeneralName]) -> x509.SubjectAlternativeName:
    """The subject alternative name of an ApiPassthrough.

    Raises: ServiceError InvalidArgsException for a name with none or several members, or not encodable.
    """
    try:
        return x509.SubjectAlternativeName([_general_name(name) for name in names])
    except ValueError as error:
        raise ServiceError(
            "InvalidArgsException", f"a subject alternative name is invalid: {error}"
        ) from error


def _general_name(name: GeneralName) -> x509.GeneralName:
    made: list[x509.GeneralName] = []
    if name.dns_name is not None:
        made.append(x509.DNSName(name.dns_name))
    if name.ip_address is not None:
        made.append(x509.IPAddress(ip_address(name.ip_address)))
    if name.uniform_resource_identifier is not None:
        made.append(x509.UniformResourceIdentifier(name.uniform_resource_identifier))
    if name.rfc822_name is not None:
        made.append(x509.RFC822Name(name.rfc822_name))
    if name.registered_id is not None:
        made.append(x509.RegisteredID(x509.ObjectIdentifier(name.registered_id)))
    if name.directory_name is not None:
        made.append(x509.DirectoryName(to_name(name.directory_name)))
    if name.other_name is not None:
        oid = x509.ObjectIdentifier(name.other_name.type_id)
        made.append(x509.OtherName(oid, _utf8_string(name.other_name.value)))
    if len(made) != 1:
        raise ValueError("exactly one supported member must be set")
    return made[0]


def _utf8_string(text: str) -> bytes:
    """DER of a UTF8String of at most 1 KiB (a 256-character value in UTF-8)."""
    body = text.encode()
    if len(body) < 0x80:
        return bytes((0x0C, len(body))) + body
    length = len(body).to_bytes(2, "big").lstrip(b"\0")
    return bytes((0x0C, 0x80 | len(length))) + length + body
