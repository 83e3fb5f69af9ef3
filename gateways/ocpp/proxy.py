"""Load balancers that end chargers' TLS connections: which addresses may speak for a client, and what they are believed."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from websockets.http11 import Request

from bfactors.admission import AdmissionRefused, PresentedCredential
from bfactors.errors import SettingsError
from bfactors.forwarded import forwarded_credential, speaks_of_client
from bfactors.path import Problem

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PROTO = "x-forwarded-proto"
_FOR = "x-forwarded-for"


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end as far as this request goes."""

    credential: PresentedCredential | None
    has_tls: bool
    remote_address: str


class Proxies:
    """The networks whose word counts; none by default."""

    def __init__(self, networks: Iterable[_Network] = ()) -> None:
        self._networks = tuple(networks)

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Proxies":
        """From addresses and networks such as `10.0.1.0/24`. Raises SettingsError."""
        try:
            return cls(ipaddress.ip_network(text) for text in texts)
        except ValueError as problem:
            raise SettingsError(f"mtls_proxies: {problem}") from problem

    def client(
        self, request: Request, credential: PresentedCredential | None, has_tls: bool, remote_address: str
    ) -> Client | AdmissionRefused:
        """What this request's client is. A header from elsewhere is an attempt to be somebody, and refused as one."""
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.raw_items():
            headers.setdefault(name.lower(), []).append(value)
        if not self._speaks(remote_address):
            if speaks_of_client(headers):
                return AdmissionRefused(
                    "proxy-header-refused",
                    HTTPStatus.FORBIDDEN,
                    "this address may not speak for clients",
                )
            return Client(credential, has_tls, remote_address)
        forwarded = forwarded_credential(headers)
        if isinstance(forwarded, Problem):
            return AdmissionRefused(forwarded.code, HTTPStatus.BAD_REQUEST, forwarded.message)
        # A certificate of the load balancer's own says nothing of the charger.
        ended_tls = forwarded is not None or headers.get(_PROTO, [""])[-1].strip().lower() in ("https", "wss")
        return Client(forwarded, ended_tls, _behind(headers.get(_FOR, []), remote_address))

    def _speaks(self, remote_address: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ipaddress.ip_address(remote_address)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _behind(values: list[str], proxy: str) -> str:
    """The last address named is the one the load balancer saw; those before it are what a client claims."""
    last = ",".join(values).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return proxy
