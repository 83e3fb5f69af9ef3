"""Which extensions an issued certificate carries: template over ApiPassthrough over CSR, per object identifier."""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import ExtensionOID

from simulator.aws import request
from simulator.aws.distinguished_name import to_general_names
from simulator.aws.service_error import ServiceError
from simulator.aws.template import Template, key_usage

_USAGES = {
    "SERVER_AUTH": Usage.SERVER_AUTH,
    "CLIENT_AUTH": Usage.CLIENT_AUTH,
    "CODE_SIGNING": Usage.CODE_SIGNING,
    "EMAIL_PROTECTION": Usage.EMAIL_PROTECTION,
    "TIME_STAMPING": Usage.TIME_STAMPING,
    "OCSP_SIGNING": Usage.OCSP_SIGNING,
    "SMART_CARD_LOGIN": Usage.SMARTCARD_LOGON,
    "DOCUMENT_SIGNING": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"),
    "CERTIFICATE_TRANSPARENCY": Usage.CERTIFICATE_TRANSPARENCY,
}


@dataclass
class ExtensionSet:
    """Extensions in order of arrival; the first of an object identifier stays."""

    _by_oid: dict[str, tuple[x509.ExtensionType, bool]] = field(default_factory=dict)

    def offer(self, value: x509.ExtensionType, critical: bool) -> None:
        """Take this extension unless a stronger source already gave one of the same object identifier."""
        self._by_oid.setdefault(value.oid.dotted_string, (value, critical))

    def apply(self, builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        """The builder with every extension added."""
        for value, critical in self._by_oid.values():
            builder = builder.add_extension(value, critical)
        return builder


def resolve(
    template: Template,
    api: request.Extensions | None,
    csr: x509.CertificateSigningRequest,
    subject_is_empty: bool,
    issued: ExtensionSet,
) -> ExtensionSet:
    """Complete `issued`, which holds what the CA itself sets (key identifiers, CRL addresses).

    Raises: ServiceError MalformedCSRException; ValueError for an API extension that cannot be encoded.
    """
    for value, critical in template.fixed:
        issued.offer(value, critical)
    if template.from_api and api is not None:
        _offer_api(issued, api, subject_is_empty)
    try:
        requested = list(csr.extensions)
    # KeyError is what cryptography raises for a TLS feature it has no name for.
    except (ValueError, KeyError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ServiceError("MalformedCSRException", "an extension of the CSR cannot be read") from error
    for extension in requested:
        if template.from_csr or extension.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            issued.offer(extension.value, extension.critical)
    return issued


def _offer_api(issued: ExtensionSet, api: request.Extensions, subject_is_empty: bool) -> None:
    if api.subject_alternative_names is not None:
        issued.offer(to_general_names(api.subject_alternative_names), subject_is_empty)
    if api.key_usage is not None:
        issued.offer(_key_usage(api.key_usage), True)
    if api.extended_key_usage is not None:
        issued.offer(x509.ExtendedKeyUsage([_usage(item) for item in api.extended_key_usage]), False)
    if api.certificate_policies is not None:
        issued.offer(x509.CertificatePolicies([_policy(item) for item in api.certificate_policies]), False)
    for custom in api.custom_extensions or ():
        try:
            body = b64decode(custom.value, validate=True)
        except binascii.Error as error:
            raise ServiceError("ValidationException", "a custom extension is not base64") from error
        oid = x509.ObjectIdentifier(custom.object_identifier)
        issued.offer(x509.UnrecognizedExtension(oid, body), custom.critical)


def _key_usage(wanted: request.KeyUsage) -> x509.KeyUsage:
    bits = {
        "digital_signature": wanted.digital_signature,
        "content_commitment": wanted.non_repudiation,
        "key_encipherment": wanted.key_encipherment,
        "data_encipherment": wanted.data_encipherment,
        "key_agreement": wanted.key_agreement,
        "key_cert_sign": wanted.key_cert_sign,
        "crl_sign": wanted.crl_sign,
        "encipher_only": wanted.encipher_only,
        "decipher_only": wanted.decipher_only,
    }
    return key_usage(*(name for name, is_set in bits.items() if is_set))


def _usage(item: request.ExtendedKeyUsage) -> x509.ObjectIdentifier:
    if (item.extended_key_usage_type is None) == (item.extended_key_usage_object_identifier is None):
        raise ServiceError("InvalidArgsException", "an extended key usage has a type or an object identifier")
    if item.extended_key_usage_type is not None:
        return _USAGES[item.extended_key_usage_type]
    return x509.ObjectIdentifier(item.extended_key_usage_object_identifier or "")


def _policy(item: request.PolicyInformation) -> x509.PolicyInformation:
    addresses = [qualifier.qualifier.cps_uri for qualifier in item.policy_qualifiers or ()]
    return x509.PolicyInformation(x509.ObjectIdentifier(item.cert_policy_id), addresses or None)
