"""What became of identities that are no chargers. Personal identifiers stand here as pseudonyms only."""

from bfactors.event.base import LedgerRecord


class IdentityRegistered(LedgerRecord, frozen=True, kw_only=True):
    """An EVSE, a vehicle, a contract or a server is known from now on."""

    managed_identity_id: str
    kind: str
    external_ids: tuple[str, ...]
    family: str
    site: str
    cohort: str
    charger_id: str | None
    by: str
    evses: tuple[int, ...] = ()


class IdentityChanged(LedgerRecord, frozen=True, kw_only=True):
    """It is called so, and stands there, from now on. `restored`: erased values were given again."""

    managed_identity_id: str
    kind: str
    external_ids: tuple[str, ...]
    family: str
    site: str
    cohort: str
    charger_id: str | None
    restored: bool
    by: str
    evses: tuple[int, ...] = ()


class IdentityRetired(LedgerRecord, frozen=True, kw_only=True):
    """It is used no more; its names may be another's."""

    managed_identity_id: str
    kind: str
    charger_id: str | None
    by: str


class PersonalDataErased(LedgerRecord, frozen=True, kw_only=True):
    """What these pseudonyms stood for is deleted, in the same commit as this is recorded."""

    managed_identity_id: str
    kind: str
    charger_id: str | None
    pseudonyms: tuple[str, ...]
    count: int
    reason: str
    by: str
