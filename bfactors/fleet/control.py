"""What connect nodes must know of the fleet's decisions: values of the control bucket, by key."""

import msgspec

from bfactors.fleet.state import FleetFacts, SupervisorPause
from bfactors.purpose import purposes

CLIENT_TRUST = "client-trust"
PAUSES = "pauses"

_PEMS = msgspec.json.Decoder(tuple[str, ...])
_PAUSES = msgspec.json.Decoder(dict[str, SupervisorPause])


def client_trust(facts: FleetFacts) -> bytes:
    """The CAs a client certificate may come from: of purposes whose leaves open sessions every one that is not retired, and
    the factories'. Trust decides who reaches the identity rules, and nothing else.
    """
    pems = [
        authority.certificate_pem
        for name, spec in purposes().items()
        if spec.is_session_credential
        for authority in sorted(facts.authorities_of(name), key=lambda each: each.arn)
    ]
    factories = {
        anchor.fingerprint_sha256: anchor.pem
        for known in facts.families.values()
        for anchor in known.factory_anchors
    }
    pems += [factories[name] for name in sorted(factories)]
    return msgspec.json.encode(pems)


def read_client_trust(value: bytes) -> tuple[str, ...]:
    """PEM texts; empty for an empty value. Raises msgspec.DecodeError."""
    return _PEMS.decode(value) if value else ()


def pauses(facts: FleetFacts) -> bytes:
    """Every supervisor that is not to run, by `kind/name`."""
    return msgspec.json.encode(facts.pauses)


def read_pauses(value: bytes) -> dict[str, SupervisorPause]:
    """The pauses; empty for an empty value. Raises msgspec.DecodeError."""
    return _PAUSES.decode(value) if value else {}
