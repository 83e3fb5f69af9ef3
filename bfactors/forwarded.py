"""What a load balancer that ended a charger's TLS connection says of it, in headers. Pure: who may say it, the edge knows.

AWS's Application Load Balancer sends the whole chain in passthrough mode and the leaf alone in verify mode, both as
percent-encoded PEM in which `+`, `=` and `/` stand for themselves. What it verified is not relied on: the identity rules run on
the certificate as if it came from the handshake.
Source: Elastic Load Balancing user guide, "Mutual authentication with TLS" (the headers' names and their encoding).
"""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from bfactors.admission import PresentedCredential
from bfactors.path import Problem
from bfactors.x509 import MalformedX509, certificate_of, split_chain

CHAIN: Final = "x-amzn-mtls-clientcert"
LEAF: Final = "x-amzn-mtls-clientcert-leaf"
_CERTIFICATES_MAX = 8

Headers = Mapping[str, Sequence[str]]
"""Values by lower-case name, in the order they came."""


def speaks_of_client(headers: Headers) -> bool:
    """Whether any header claims to tell which certificate the client presented."""
    return any(name.startswith(CHAIN) for name in headers)


def forwarded_credential(headers: Headers) -> PresentedCredential | Problem | None:
    """The certificate the load balancer was shown; None if it says nothing of one."""
    if not speaks_of_client(headers):
        return None
    texts = [(name, headers[name]) for name in (CHAIN, LEAF) if name in headers]
    if not texts:
        return _malformed("a client certificate is described but not passed on")
    if any(len(values) != 1 for _, values in texts):
        return _malformed("a header comes more than once")
    try:
        chains = [split_chain(unquote(values[0], errors="strict")) for _, values in texts]
        for chain in chains:
            for der in chain:
                certificate_of(der)
    except (MalformedX509, UnicodeDecodeError) as problem:
        return _malformed(str(problem))
    if not all(chains) or any(len(chain) > _CERTIFICATES_MAX for chain in chains):
        return _malformed(f"not one to {_CERTIFICATES_MAX} certificates")
    if len({chain[0] for chain in chains}) != 1:
        return _malformed("chain and leaf name two certificates")
    leaf, *above = chains[0]
    return PresentedCredential(leaf_der=leaf, chain_der=tuple(above), source="header")


def _malformed(why: str) -> Problem:
    return Problem("proxy-header-malformed", f"the load balancer's header cannot be used: {why}")
