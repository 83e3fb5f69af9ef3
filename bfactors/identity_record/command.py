"""What is asked about identities. Personal identifiers come as pseudonyms: whoever sends these has named and sealed them."""

import msgspec


class _Command(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


class RegisterIdentity(_Command, frozen=True, kw_only=True):
    """Make an identity known. `external_ids` are names as `bfactors.identity_record.scheme` makes them."""

    identity_id: str
    kind: str
    external_ids: tuple[str, ...]
    family: str = ""
    site: str = ""
    cohort: str = ""
    charger_id: str | None = None
    """Of an EVSE, and of nothing else."""
    evses: tuple[int, ...] = ()
    """Of an EVSE: OCPP's numbers of it, or of all that its SECC serves."""


class ChangeIdentity(_Command, frozen=True, kw_only=True):
    """Replace what is given; absent fields stay. Names given again after an erasure have values again."""

    identity_id: str
    external_ids: tuple[str, ...] | None = None
    family: str | None = None
    site: str | None = None
    cohort: str | None = None
    charger_id: str | None = None
    """Whose part it is known to be, so that its charger hears of it."""
    evses: tuple[int, ...] | None = None


class RetireIdentity(_Command, frozen=True, kw_only=True):
    """It is used no more; its names are free for another."""

    identity_id: str
    charger_id: str | None = None


class ErasePersonalData(_Command, frozen=True, kw_only=True):
    """Delete what its pseudonyms stand for, in the same commit."""

    identity_id: str
    reason: str
    charger_id: str | None = None


IdentityCommand = RegisterIdentity | ChangeIdentity | RetireIdentity | ErasePersonalData
