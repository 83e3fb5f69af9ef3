"""OCPP 2.1: what it adds to the tables of 2.0.1, and what it says differently.

Source: the official 2.1 schemas; OCPP 2.1 part 2, use cases A02, A03, B09, M06, M07; part 4 for SEND and CALLRESULTERROR.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import orjson

from bfactors.authorization_key import Version
from bfactors.capability import Capabilities
from bfactors.instruction import InstallLeaf, SetNetworkProfile
from gateways.ocpp import phrase
from gateways.ocpp.certificate_name import CertificateNames
from gateways.ocpp.frame import Payload
from gateways.ocpp.schema import SchemaSet
from gateways.ocpp.v201 import CAR_WAIT_S, CONFIRMED, DECIDED, DEFAULT_REPLIES, NAMES, RELAYED, Ocpp201

_ASK_AGAIN_AFTER = timedelta(hours=1)
"""When a charger whose question about a chain nobody could answer may ask again."""

_NAMES = replace(
    NAMES,
    use_of_purpose={"secc_iso15118_20": "V2G20Certificate"},
    store_of_purpose={**NAMES.store_of_purpose, "oem_provisioning": "OEMRootCertificate"},
)

_RELAYED = RELAYED | {
    "BatterySwap", "ClosePeriodicEventStream", "NotifyDERAlarm", "NotifyDERStartStop", "NotifyPriorityCharging",
    "NotifySettlement", "ReportDERControl",
}  # fmt: skip
_CONFIRMED = CONFIRMED | {"BatterySwap", "NotifySettlement"}
_DECIDED: Mapping[str, float | None] = {
    **DECIDED,
    "GetCertificateChainStatus": CAR_WAIT_S,
    "OpenPeriodicEventStream": None,
    "PullDynamicScheduleUpdate": None,
    "VatNumberValidation": None,
}
_DEFAULT_REPLIES: Mapping[str, Payload] = {
    **DEFAULT_REPLIES,
    "OpenPeriodicEventStream": {"status": "Rejected"},
    "PullDynamicScheduleUpdate": {"status": "Rejected"},
}
_SENDS = frozenset({"NotifyPeriodicEventStream"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocpp21(Ocpp201):
    """The dialect. `now` dates the one default answer that must carry a time."""

    version: Version = "2.1"
    schemas: SchemaSet = field(default_factory=lambda: SchemaSet("ocpp.v21", sends=_SENDS))
    names: CertificateNames = _NAMES
    relayed: frozenset[str] = _RELAYED
    confirmed: frozenset[str] = _CONFIRMED
    decided: Mapping[str, float | None] = field(default_factory=lambda: _DECIDED)
    default_replies: Mapping[str, Payload] = field(default_factory=lambda: _DEFAULT_REPLIES)
    additional_info_max_chars: int = 1024
    now: Callable[[], datetime] = _utc_now

    def undecided(self, action: str, payload: Payload) -> bytes:
        """Both must repeat what was asked, and so have no answer that suits every call."""
        match action:
            case "GetCertificateChainStatus":
                return orjson.dumps({"certificateStatus": self._unknown_statuses(payload)})
            case "VatNumberValidation":
                return orjson.dumps({"status": "Rejected", "vatNumber": payload["vatNumber"]})
            case _:
                return b""

    def _unknown_statuses(self, payload: Payload) -> list[Payload]:
        next_update = phrase.rfc3339(self.now() + _ASK_AGAIN_AFTER)
        return [
            {
                "certificateHashData": request["certificateHashData"],
                "source": request["source"],
                "status": "Failed",
                "nextUpdate": next_update,
            }
            for request in payload["certificateStatusRequests"]
        ]

    def certificate_signed(self, leaf: InstallLeaf, capabilities: Capabilities) -> Payload:
        """With the request's id, if it had one: a charger refuses an answer to no request of its own (A02.FR.25-26)."""
        payload = Ocpp201.certificate_signed(self, leaf, capabilities)
        return payload if leaf.request_id is None else {**payload, "requestId": leaf.request_id}

    def network_profile(self, profile: SetNetworkProfile) -> Payload:
        """Without a version, which a 2.1 charger ignores, and on whatever interface it has.

        Without identity and password too: they would hide those that A01 rotates (B09.FR.26-28).
        """
        payload = Ocpp201.network_profile(self, profile)
        data = {name: value for name, value in payload["connectionData"].items() if name != "ocppVersion"}
        return {**payload, "connectionData": {**data, "ocppInterface": "Any"}}


DIALECT = Ocpp21()
