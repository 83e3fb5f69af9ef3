"""What a charger can and cannot do: capabilities as data, set for its family or learned from its own answers.

Applied by the dialects, shown to operators, and never looked up by a family's name in an `if`.
"""

import msgspec


class Capabilities(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The capabilities that change what we send or expect; the defaults describe a charger that follows the specification.

    `None` means nobody knows. Sizes in characters, as OCPP counts them.
    """

    include_root_in_chain: bool = False
    """It verifies a delivered chain only if the root is in it (against A00.FR.806's usual reading)."""
    max_chain_chars: int | None = None
    """MaxCertificateChainSize, or 1.6's CertificateSignedMaxChainSize."""
    trust_store_slots: int | None = None
    """CertificateStoreMaxLength, or what was found out."""
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
    hex_text_password: bool = False
    """It sends the hex text of its key as its password instead of the decoded bytes (1.6)."""
    no_ping: bool = False
    """It does not answer WebSocket pings."""
    assume_version: str | None = None
    """The version spoken by a charger that offers no subprotocol, e.g. `1.6`."""
    key_types: tuple[str, ...] = ()
    """Key algorithms it can make, e.g. `ec-secp256r1`; empty: unknown."""
    may_connect_expired: bool = False
    """Listed: may connect with its expired certificate as Pending, to renew it at once (A00.FR.429)."""


NO_CAPABILITIES = Capabilities()
"""A charger nobody knows anything special about."""


def merged(family: Capabilities, learned: Capabilities) -> Capabilities:
    """The family's capabilities, overlaid by what this charger itself has shown (everything that is not a default)."""
    changed = {
        name: value
        for name, default in zip(
            Capabilities.__struct_fields__, Capabilities.__struct_defaults__, strict=True
        )
        if (value := getattr(learned, name)) != default
    }
    return msgspec.structs.replace(family, **changed)
