"""What a firmware admin asks the ledger to do; no other role sends these, and they reach no operational state."""

import msgspec

from bfactors.certificate_hash import HashData


class _Command(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    pass


class RecordFirmwareAnchor(_Command, frozen=True, kw_only=True):
    """Make a manufacturer's root known (fleet). The same root again changes nothing."""

    anchor_id: str
    manufacturer: str
    pem: str
    note: str = ""


class WithdrawFirmwareAnchor(_Command, frozen=True, kw_only=True):
    """Have a manufacturer's root installed no more (fleet)."""

    anchor_id: str
    reason: str


class InstallFirmwareAnchor(_Command, frozen=True, kw_only=True):
    """Give a charger a recorded root; whoever sends this has looked the anchor up."""

    work_id: str
    charger_id: str
    anchor_id: str
    pem: str
    reason: str


class ListFirmwareAnchors(_Command, frozen=True, kw_only=True):
    """Ask a charger which manufacturer roots it holds."""

    work_id: str
    charger_id: str
    reason: str


class CompareRootStores(_Command, frozen=True, kw_only=True):
    """Ask a charger whether a root sits in both its stores: the manufacturers' and the central system's."""

    work_id: str
    charger_id: str
    reason: str


class DeleteFirmwareAnchor(_Command, frozen=True, kw_only=True):
    """Have a charger delete a root: any of `names` that its last list held."""

    work_id: str
    charger_id: str
    names: tuple[HashData, ...]
    reason: str


class OrderFirmwareUpdate(_Command, frozen=True, kw_only=True):
    """Have a charger install signed firmware; `anchor_pem` is the recorded root that vouches for who signed it."""

    work_id: str
    charger_id: str
    anchor_id: str
    anchor_pem: str
    location: str
    retrieve_at: str
    signing_certificate: str
    signature: str
    reason: str
    install_at: str | None = None


class CancelFirmwareWork(_Command, frozen=True, kw_only=True):
    """Give up what a charger has not answered yet; it may have been sent."""

    charger_id: str
    work_id: str
    reason: str


FirmwareFleetCommand = RecordFirmwareAnchor | WithdrawFirmwareAnchor
FirmwareChargerCommand = (
    InstallFirmwareAnchor
    | ListFirmwareAnchors
    | CompareRootStores
    | DeleteFirmwareAnchor
    | OrderFirmwareUpdate
    | CancelFirmwareWork
)
FirmwareCommand = FirmwareFleetCommand | FirmwareChargerCommand
