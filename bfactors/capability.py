"""What a charger can and cannot do: capabilities as data, set for its family or charger, or learned from its own answers.

Applied by the dialects and the rules, shown to operators, and never looked up by a family's name in an `if`.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import get_type_hints

import msgspec


class Capabilities(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False
):
    """The capabilities that change what we send or expect; the defaults describe a charger that follows the specification.

    `None` means nobody knows. Sizes in characters, as OCPP counts them.
    """

    include_root_in_chain: bool = False
    """It verifies a delivered chain only if the root is in it (against A00.FR.806's usual reading)."""
    max_chain_chars: int | None = None
    """MaxCertificateChainSize, or 1.6's CertificateSignedMaxChainSize."""
    trust_store_slots: int | None = None
    """CertificateStoreMaxLength, or what was found out."""
    csr_wait_s: int | None = None
    """CertSigningWaitMinimum: so long it waits for its certificate before it sends another CSR, perhaps of another key."""
    needs_crlf: bool = False
    """It reads PEM only with CRLF line ends."""
    presents_leaf_only: bool = False
    """Its TLS client sends no intermediates, so the server's trust must hold them."""
    no_boot_on_reconnect: bool = False
    """It sends BootNotification after a power cycle only: calls need not wait for one."""
    drops_before_answering: bool = False
    """It closes the socket instead of answering some calls (CertificateSigned, Reset): silence there is no refusal."""
    ignores_triggers: bool = False
    """TriggerMessage is answered, and nothing follows: its own renewals and Boots are waited for."""
    cannot_list: bool = False
    """GetInstalledCertificateIds is NotSupported."""
    cannot_delete: bool = False
    """DeleteCertificate is NotSupported."""
    hex_text_password: bool = False
    """It sends the hex text of its key as its password instead of the decoded bytes (1.6)."""
    no_ping: bool = False
    """It does not answer WebSocket pings."""
    assume_version: str | None = None
    """The version spoken by a charger that offers no subprotocol, e.g. `1.6`."""
    key_types: tuple[str, ...] = ()
    """Key algorithms it can make, e.g. `ec-secp256r1`; empty: unknown."""
    network_slots: tuple[int, ...] = ()
    """The network configuration slots it has (2.x: valuesList of NetworkConfigurationPriority); empty: unknown."""
    allows_downgrade: bool = False
    """AllowSecurityProfileDowngrade: it can be told to go from profile 3 back to 2 (2.x), never further."""


NO_CAPABILITIES = Capabilities()
"""A charger nobody knows anything special about."""

_DEFAULTS = msgspec.structs.asdict(NO_CAPABILITIES)
_HINTS = get_type_hints(Capabilities)


def merged(*layers: Capabilities) -> Capabilities:
    """One set out of several, the later ones stronger: family, charger, learned. A default says nothing."""
    found: dict[str, object] = {}
    for layer in layers:
        if layer != NO_CAPABILITIES:
            found |= {
                name: value
                for name, default in _DEFAULTS.items()
                if (value := getattr(layer, name)) != default
            }
    return Capabilities(**found) if found else NO_CAPABILITIES  # type: ignore[arg-type] # values of its own fields


@lru_cache(maxsize=1024)
def learned(facts: frozenset[str]) -> Capabilities:
    """What a charger's own answers have shown, as recorded by ChargerFactObserved: `cannot-list`, `max-chain-chars=9000`.

    Facts that name no capability, and values of another kind than its own, are passed over: an older or newer version of
    this system may have recorded them.
    """
    found: dict[str, object] = {}
    for name, value in _named(facts):
        try:
            found[name] = msgspec.convert(value, _HINTS[name], strict=False)
        except msgspec.ValidationError:
            continue
    return Capabilities(**found) if found else NO_CAPABILITIES  # type: ignore[arg-type] # converted to the fields' types


def _named(facts: Iterable[str]) -> Iterable[tuple[str, object]]:
    for fact in sorted(facts):
        name, has_value, value = fact.partition("=")
        name = name.replace("-", "_")
        if name in _DEFAULTS:
            yield name, value if has_value else True
