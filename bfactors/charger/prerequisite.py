"""What must hold before a charger is told to change its security profile: a table of checks, each with a code and words.

All of them are asked, so that an operator sees everything at once. A fact nobody knows does not stop a migration; the check
says so instead. Source: A05.FR.02/03 and their remarks, B09, the 1.6 security whitepaper's A05.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec

from bfactors.charger.state import CertificateRecord, ChargerState
from bfactors.charger.trust_gate import is_confirmed
from bfactors.clock_offset import is_wrong
from bfactors.fleet.state import Bundle, FleetFacts
from bfactors.policy import Policy
from bfactors.purpose import session_purpose
from bfactors.server_certificate import hangs_on
from bfactors.x509 import Certificate, parse_certificate

CLIENT_CERTIFICATE_PROFILE = 3
TLS_PROFILE = 2
KEY_PROFILES = (1, 2)
TRUST_ANCHOR = "trust-anchor-not-confirmed"
CERTIFICATE = "client-certificate-not-installed"


class Prerequisite(msgspec.Struct, frozen=True, kw_only=True):
    """One check's outcome: `code` names what is missing if it is not met, `message` says it for a person."""

    code: str
    is_met: bool
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """What the checks may know."""

    state: ChargerState
    facts: FleetFacts
    policy: Policy
    to_profile: int
    now: datetime

    @property
    def bundle(self) -> Bundle | None:
        """The anchors with which the charger verifies us."""
        name = session_purpose().anchor_bundle
        return self.facts.bundles.get(name) if name is not None else None


Found = tuple[bool, str]


def _trust_anchor(asked: Question) -> Found:
    bundle = asked.bundle
    if bundle is None:
        return False, "no trust anchor bundle exists that the charger could verify us with"
    name = f"bundle {bundle.purpose} version {bundle.version}"
    if is_confirmed(asked.state, bundle, asked.policy.confirm_rung):
        return True, f"{name} is confirmed on the charger"
    return False, f"{name} is not confirmed on the charger"


@lru_cache(maxsize=64)
def _root(pem: str) -> Certificate:
    return parse_certificate(pem)


def _server_certificate(asked: Question) -> Found:
    bundle = asked.bundle
    presented = [node for node in asked.facts.nodes.values() if node.server_anchors]
    if bundle is None or not presented:
        return True, "not known: no gateway has said which anchors its server certificates lead to"
    roots = [_root(anchor.pem) for anchor in bundle.anchors]
    others = sorted(
        {
            node.node
            for node in presented
            if not all(any(hangs_on(shown, root) for root in roots) for shown in node.server_anchors)
        }
    )
    if others:
        return (
            False,
            f"a server certificate leads to an anchor outside the bundle the charger holds: {', '.join(others[:5])}",
        )
    return True, "every gateway's server certificates lead to anchors the charger holds"


def _key(asked: Question) -> Found:
    if asked.state.keys:
        return True, "the charger has an AuthorizationKey"
    return False, "the charger has no AuthorizationKey; rotate it first"


def _certificate(asked: Question) -> Found:
    certificate = held_certificate(asked.state)
    if certificate is None:
        return False, "no certificate of ours is installed on the charger yet"
    return True, f"certificate {certificate.serial_number} is {certificate.state}"


def _gateways(asked: Question) -> Found:
    name, held = session_purpose().name, held_certificate(asked.state)
    issuer = asked.facts.authority_of(name, held.issuing_ca_id) if held is not None else None
    authority = issuer or asked.facts.authorities.get(name)
    if authority is None:
        return False, "no issuing CA is configured for the charger's certificate"
    if not asked.facts.nodes:
        return False, "no gateway is known to be live"
    blind = asked.facts.blind_nodes(authority.fingerprint_sha256)
    if blind:
        return False, f"does not verify the issuing CA yet: {', '.join(blind[:5])}"
    return True, "every gateway verifies the issuing CA"


def _chain_size(asked: Question) -> Found:
    limit = asked.state.capabilities.max_chain_chars
    certificate = held_certificate(asked.state)
    if limit is None:
        return True, "not known: the charger has named no limit"
    if certificate is not None and len(certificate.chain_pem) > limit:
        return (
            False,
            f"the chain has {len(certificate.chain_pem)} characters, the charger takes {limit} at most",
        )
    return True, f"the chain fits into the charger's {limit} characters"


def _trust_store(asked: Question) -> Found:
    slots, bundle = asked.state.capabilities.trust_store_slots, asked.bundle
    if slots is None or bundle is None:
        return True, "not known: the charger has named no limit"
    if len(bundle.anchors) > slots:
        return False, f"the bundle has {len(bundle.anchors)} anchors, the charger holds {slots} at most"
    return True, f"the bundle fits into the charger's {slots} places"


def _network_slots(asked: Question) -> Found:
    slots = asked.state.capabilities.network_slots
    if not slots:
        return True, "not known: the charger has named no network slots"
    if len(slots) < 2:
        return False, "the charger has one network slot: nothing would stay to fall back on"
    return True, f"the charger has network slots {', '.join(map(str, slots))}"


def _clock(asked: Question) -> Found:
    told = asked.state.clock
    if told is None:
        return True, "clock-unknown: nothing the charger sent lately showed its clock to be wrong"
    if not is_wrong(told.offset_s):
        return True, f"the charger's clock is {_signed(told.offset_s)} off"
    return (
        False,
        f"the charger's clock is {_signed(told.offset_s)} off; it would take good certificates for bad",
    )


def _signed(seconds: int) -> str:
    return f"{seconds:+d} s"


@dataclass(frozen=True, slots=True)
class Check:
    """`profiles`: those it is asked for."""

    code: str
    profiles: tuple[int, ...]
    ask: Callable[[Question], Found]


CHECKS: tuple[Check, ...] = (
    Check("authorization-key-missing", KEY_PROFILES, _key),
    Check(TRUST_ANCHOR, (2, 3), _trust_anchor),
    Check("server-certificate-not-covered", (2, 3), _server_certificate),
    Check("trust-store-too-small", (2, 3), _trust_store),
    Check("charger-clock-wrong", (2, 3), _clock),
    Check("network-slots-too-few", (1, 2, 3), _network_slots),
    Check("gateway-does-not-verify-issuer", (3,), _gateways),
    Check(CERTIFICATE, (3,), _certificate),
    Check("chain-too-long", (3,), _chain_size),
)
"""In the order in which an operator would see to them."""


def check(asked: Question) -> tuple[Prerequisite, ...]:
    """Every check that this profile asks for, met or not."""
    return tuple(_outcome(one, asked) for one in CHECKS if asked.to_profile in one.profiles)


def _outcome(one: Check, asked: Question) -> Prerequisite:
    is_met, message = one.ask(asked)
    return Prerequisite(code=one.code, is_met=is_met, message=message)


def held_certificate(state: ChargerState) -> CertificateRecord | None:
    """The newest usable client certificate that the charger is known to hold."""
    name = session_purpose().name
    for certificate in reversed(state.certificates.values()):
        if (
            certificate.purpose == name
            and certificate.is_usable
            and certificate.state in ("installed", "active")
        ):
            return certificate
    return None


def next_profile(state: ChargerState, target: int) -> int:
    """The next stage on the way up: over TLS with a key first, unless the charger holds its certificate already."""
    if target < CLIENT_CERTIFICATE_PROFILE or state.security_profile >= TLS_PROFILE:
        return target
    return target if held_certificate(state) is not None else TLS_PROFILE
