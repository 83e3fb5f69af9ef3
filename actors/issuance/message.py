"""What the actors that carry out effects are told, and what the issuance actor tells itself."""

from dataclasses import dataclass

from bfactors.effect import Effect


@dataclass(frozen=True, slots=True)
class Wanted:
    """The ledger wants this; said again after a take-over or a restart, and whenever the effect learned something."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Settled:
    """The ledger does not want this effect any more: it happened, or was given up."""

    effect_id: str


@dataclass(frozen=True, slots=True)
class CarriedOut:
    """An effect's work has ended. With `pending_ref`, the CA is still making that certificate and is asked on, slowly."""

    effect_id: str
    pending_ref: str | None = None
    has_lapsed: bool = False
    """Its time for calls passed before the CA had named a certificate."""


@dataclass(frozen=True, slots=True)
class Broke:
    """An effect's work ended in an error nobody foresaw."""

    effect_id: str
    error: BaseException


Message = Wanted | Settled | CarriedOut | Broke
