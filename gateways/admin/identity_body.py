"""What requests about identities carry: external ids by scheme, filters, reasons."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bfactors.identity_record.scheme import EVERY_SCHEME, VALUE_MAX_CHARS, Kind
from gateways.admin import field

_TEXT = r"^[^\u0000-\u001f\u007f-\u009f]+$(?!\n)"

ExternalIds = Annotated[
    dict[
        Annotated[str, Meta(pattern=f"^({'|'.join(EVERY_SCHEME)})$(?!\\n)")],
        Annotated[str, Meta(min_length=1, max_length=VALUE_MAX_CHARS, pattern=_TEXT)],
    ],
    Meta(
        min_length=1,
        max_length=8,
        description="By scheme: a vehicle's vin and pcid, a contract's emaid, an EVSE's evse_id and secc_id, a server's "
        "host_name. VIN, PCID and EMAID are kept sealed, and the ledger knows them by pseudonym only",
    ),
]


Evses = Annotated[
    list[Annotated[int, Meta(ge=1, le=65_535)]],
    Meta(
        max_length=64, description="OCPP's numbers of the EVSEs that an SECC serves; none: all of its charger"
    ),
]


class RegisterIdentityBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charger is registered under `/api/v1/chargers`. An EVSE names its charger, and stands where that stands."""

    kind: Literal["evse", "vehicle", "contract", "server"]
    external_ids: ExternalIds
    family: field.Name | UnsetType = UNSET
    site: field.Name | UnsetType = UNSET
    cohort: field.Name | UnsetType = UNSET
    charger_id: field.ChargerId | UnsetType = UNSET
    evses: Evses | UnsetType = UNSET


class ChangeIdentityBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Absent fields stay; `external_ids` replaces all of them, and gives erased ones their values again."""

    external_ids: ExternalIds | UnsetType = UNSET
    family: field.Name | UnsetType = UNSET
    site: field.Name | UnsetType = UNSET
    cohort: field.Name | UnsetType = UNSET
    evses: Evses | UnsetType = UNSET


class ErasePersonalDataBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, for people; without the data itself."""

    reason: field.Reason


class IdentityQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters. `q`: a part of an identity's or a charger's id, or a whole external id; what looks like a VIN, an EMAID or a
    PCID is looked for as such only.
    """

    kind: Kind | UnsetType = UNSET
    state: Literal["registered", "retired"] | UnsetType = UNSET
    family: field.Search | UnsetType = UNSET
    site: field.Search | UnsetType = UNSET
    cohort: field.Search | UnsetType = UNSET
    charger_id: field.Search | UnsetType = UNSET
    q: field.Search | UnsetType = UNSET
    vin: field.Search | UnsetType = UNSET
    emaid: field.Search | UnsetType = UNSET
    pcid: field.Search | UnsetType = UNSET
    evse_id: field.Search | UnsetType = UNSET
    secc_id: field.Search | UnsetType = UNSET
    host_name: field.Search | UnsetType = UNSET
    limit: field.Limit = field.DEFAULT_LIMIT
    cursor: field.Cursor | UnsetType = UNSET
