"""The security settings as variables of the 2.x device model: our name for each, its component and its variable.

Source: OCPP 2.0.1 part 2, B05, B06 and the referenced components of A, B, M.
"""

from dataclasses import dataclass
from typing import get_args

from bfactors.instruction import SettingName
from bfactors.ocpp import Answered, ReadSetting
from gateways.ocpp.frame import Payload


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `attribute` is what is read of it if not its actual value; `is_fixed`: chargers let nobody set it."""

    component: str
    name: str
    attribute: str | None = None
    is_fixed: bool = False

    def reference(self) -> Payload:
        return {"component": {"name": self.component}, "variable": {"name": self.name}}

    @property
    def folded(self) -> tuple[str, str]:
        """Names are case-insensitive in the device model."""
        return self.component.lower(), self.name.lower()


VARIABLES: dict[SettingName, Variable] = {
    "organization": Variable("SecurityCtrlr", "OrganizationName"),
    "additional-root-check": Variable("SecurityCtrlr", "AdditionalRootCertificateCheck"),
    "max-chain-chars": Variable("SecurityCtrlr", "MaxCertificateChainSize", is_fixed=True),
    # Its actual value counts what is installed; only the limit says how many places there are.
    "trust-store-slots": Variable("SecurityCtrlr", "CertificateEntries", attribute="MaxSet", is_fixed=True),
    "csr-wait-s": Variable("SecurityCtrlr", "CertSigningWaitMinimum"),
    "csr-repeats": Variable("SecurityCtrlr", "CertSigningRepeatTimes"),
    "security-profile": Variable("SecurityCtrlr", "SecurityProfile", is_fixed=True),
    "network-priority": Variable("OCPPCommCtrlr", "NetworkConfigurationPriority"),
}
PASSWORD = Variable("SecurityCtrlr", "BasicAuthPassword")
"""Write-only: no charger ever tells it."""

_NAMES = {variable.folded: name for name, variable in VARIABLES.items()}
assert set(VARIABLES) == set(get_args(SettingName))


def writing(variable: Variable, value: str) -> Payload:
    """SetVariables with one variable."""
    return {"setVariableData": [{"attributeValue": value, **variable.reference()}]}


def reading(names: tuple[SettingName, ...]) -> Payload:
    """GetVariables with the variables of these settings."""
    return {"getVariableData": [_asked(VARIABLES[name]) for name in names]}


def _asked(variable: Variable) -> Payload:
    attribute = {"attributeType": variable.attribute} if variable.attribute else {}
    return {**variable.reference(), **attribute}


def written(payload: Payload) -> Answered:
    """What SetVariables with one variable was answered: that variable's own status."""
    outcome = payload["setVariableResult"][0]
    info = outcome.get("attributeStatusInfo") or {}
    return Answered(outcome["attributeStatus"], info.get("reasonCode"), info.get("additionalInfo"))


def read(payload: Payload) -> Answered:
    """What GetVariables was answered; a variable the charger does not have is missing."""
    settings = []
    for result in payload["getVariableResult"]:
        name = _NAMES.get((result["component"]["name"].lower(), result["variable"]["name"].lower()))
        if name is None:
            continue
        if result["attributeStatus"] == "Accepted":
            settings.append(ReadSetting(name, result.get("attributeValue")))
        elif result["attributeStatus"] == "Rejected":
            settings.append(ReadSetting(name, None))
    return Answered("Accepted", settings=tuple(settings))
