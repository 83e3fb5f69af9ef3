"""Which addresses the world may send us to: what a charger or a certificate names must lie on the public Internet.

A host named in settings may lie anywhere. Source: RFC 6890 by way of `ipaddress`; RFC 3056, 4380 and 6052 for addresses that
carry another one inside.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from yarl import URL

from bfactors.errors import NotFetched

_TRANSLATED = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
_PROTOCOLS = IPv4Network("192.0.0.0/24")
_PROVIDERS_OWN = frozenset({IPv4Address("168.63.129.16")})
"""Looks public, and is a cloud provider's metadata and agent service for whoever runs there."""
_WELL_KNOWN_PORTS = frozenset({80, 443})
_FIRST_FREE_PORT = 1024
_URL_CHARS = 2000


def is_public(address: str) -> bool:
    """Whether it is a unicast address of the Internet, also after what is wrapped in it has been unwrapped."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = _carried_by(found) if isinstance(found, IPv6Address) else None
    if inner is not None:
        return is_public(str(inner))
    if found.version == 6:
        return found in _UNICAST and found.is_global
    return (
        found.is_global and not found.is_multicast and found not in _PROTOCOLS and found not in _PROVIDERS_OWN
    )


def _carried_by(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _TRANSLATED or int(address) >> 32 == 0:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def checked_url(text: str, allowed_hosts: frozenset[str]) -> URL:
    """The address to ask, parsed once for everybody who looks at it. Raises NotFetched: it must not be asked.

    A name's addresses are checked when it is resolved, not here. `allowed_hosts` are lower case.
    """
    if len(text) > _URL_CHARS or "\\" in text or not text.isascii() or any(char <= " " for char in text):
        raise NotFetched("bad-address", "not a plain URL")
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise NotFetched("bad-address", "not a URL") from None
    if url.scheme not in ("http", "https") or not host:
        raise NotFetched("bad-address", "neither http nor https")
    if url.user is not None or url.password is not None:
        raise NotFetched("bad-address", "names a user")
    if url.raw_fragment:
        raise NotFetched("bad-address", "has a fragment")
    if host.lower() in allowed_hosts:
        return url
    if port is None or (port not in _WELL_KNOWN_PORTS and port < _FIRST_FREE_PORT):
        raise NotFetched("bad-address", f"port {port} belongs to another service")
    if _is_literal(host) and not is_public(host):
        raise NotFetched("private-address", host)
    return url


def _is_literal(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
