"""Where a certificate says that its revocation can be looked up: CRL distribution points and OCSP responders.

Source: RFC 5280 (4.2.1.13, 4.2.2.1).
"""

from functools import lru_cache

import msgspec
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from bfactors.pem import MalformedX509
from bfactors.x509 import load, split_chain

ADDRESSES_MAX = 4
"""Of each kind; whoever names more is not read to the end."""
_CHARS_MAX = 2000


class RevocationSources(msgspec.Struct, frozen=True):
    """Addresses in the certificate's own order, http and https alone."""

    crl: tuple[str, ...] = ()
    ocsp: tuple[str, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether nobody can look its revocation up."""
        return not self.crl and not self.ocsp


@lru_cache(maxsize=4096)
def sources_in(pem: str) -> RevocationSources:
    """What the first certificate of a PEM text names; nothing, if it cannot be read."""
    try:
        extensions = load(split_chain(pem)[0]).extensions
    except (MalformedX509, ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return RevocationSources()
    return RevocationSources(_lists(extensions), _responders(extensions))


def _lists(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        points = extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return ()
    # A point of some reasons only, or of another signer, does not speak for the issuer as a whole.
    plain = [point for point in points if point.reasons is None and point.crl_issuer is None]
    return _addresses([name for point in plain for name in point.full_name or ()])


def _responders(extensions: x509.Extensions) -> tuple[str, ...]:
    try:
        access = extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    ocsp = AuthorityInformationAccessOID.OCSP
    return _addresses([each.access_location for each in access if each.access_method == ocsp])


def _addresses(names: list[x509.GeneralName]) -> tuple[str, ...]:
    found = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    usable = [text for text in found if text.startswith(("http://", "https://")) and len(text) <= _CHARS_MAX]
    return tuple(dict.fromkeys(usable))[:ADDRESSES_MAX]
