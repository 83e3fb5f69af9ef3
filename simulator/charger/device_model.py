"""The variables a charger shows and lets itself be given (OCPP 2.x device model, the security part)."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.charger.frame import Payload, object_of, text_of
from simulator.charger.settings import PASSWORD, Settings, ValueRefused


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable in the model; `values` names the choices where there are some."""

    component: str
    name: str
    data_type: str = "string"
    mutability: str = "ReadOnly"
    values: str | None = None


def security_variables(slots: tuple[int, ...]) -> tuple[Variable, ...]:
    """The variables of OCPP 2.x's security block for a charger with these network slots."""
    written, security, wire = "ReadWrite", "SecurityCtrlr", "OCPPCommCtrlr"
    return (
        Variable(security, "SecurityProfile", "integer"),
        Variable(security, "Identity"),
        Variable(security, "OrganizationName", "string", written),
        Variable(security, PASSWORD, "string", "WriteOnly"),
        Variable(security, "AdditionalRootCertificateCheck", "boolean"),
        Variable(security, "CertSigningWaitMinimum", "integer", written),
        Variable(security, "CertSigningRepeatTimes", "integer", written),
        Variable(security, "CertificateEntries", "integer"),
        Variable(security, "MaxCertificateChainSize", "integer"),
        Variable("ISO15118Ctrlr", "SeccId"),
        Variable("ISO15118Ctrlr", "CountryName"),
        Variable("ISO15118Ctrlr", "OrganizationName", "string", written),
        Variable(
            wire,
            "NetworkConfigurationPriority",
            "SequenceList",
            written,
            ",".join(str(slot) for slot in slots),
        ),
        Variable(wire, "HeartbeatInterval", "integer", written),
        Variable(wire, "NetworkProfileConnectionAttempts", "integer"),
        Variable(wire, "FileTransferProtocols", "MemberList"),
    )


class DeviceModel:
    """The variables of one charger, over its settings; a password has at most `password_chars`."""

    def __init__(self, settings: Settings, variables: tuple[Variable, ...], password_chars: int) -> None:
        self._settings = settings
        self._password_chars = password_chars
        self._variables = {(each.component, each.name): each for each in variables}
        self._components = {each.component for each in variables}

    def set(self, asked: Payload) -> Payload:
        """One SetVariableData entry done, as its SetVariableResult."""
        found, result = self._find(asked)
        value = text_of(asked, "attributeValue")
        if found is None:
            return result
        if found.mutability == "ReadOnly":
            return result | _rejected("ReadOnly")
        if found.name == PASSWORD and len(value) > self._password_chars:
            return result | _rejected("InvalidValue")
        try:
            return result | {"attributeStatus": self._settings.write(found.name, value)}
        except ValueRefused as error:
            return result | _rejected(str(error))

    def get(self, asked: Payload) -> Payload:
        """One GetVariableData entry, as its GetVariableResult."""
        found, result = self._find(asked)
        if found is None:
            return result
        if found.mutability == "WriteOnly":
            return result | _rejected("WriteOnly")
        return result | {"attributeStatus": "Accepted", "attributeValue": self._read(found.name)}

    def report(self) -> list[Payload]:
        """All variables as ReportData; write-only ones without a value."""
        entries: list[Payload] = []
        for variable in self._variables.values():
            attribute: Payload = {"type": "Actual", "mutability": variable.mutability}
            if variable.mutability != "WriteOnly":
                attribute["value"] = self._read(variable.name)
            characteristics: Payload = {"dataType": variable.data_type, "supportsMonitoring": False}
            if variable.values is not None:
                characteristics["valuesList"] = variable.values
            entries.append(
                {
                    "component": {"name": variable.component},
                    "variable": {"name": variable.name},
                    "variableAttribute": [attribute],
                    "variableCharacteristics": characteristics,
                }
            )
        return entries

    def _find(self, asked: Payload) -> tuple[Variable | None, Payload]:
        """The variable an entry is about, and the result so far, which for None is complete."""
        component = text_of(object_of(asked, "component"), "name")
        name = text_of(object_of(asked, "variable"), "name")
        result: Payload = {"component": asked["component"], "variable": asked["variable"]}
        if "attributeType" in asked:
            result["attributeType"] = asked["attributeType"]
        found = self._variables.get((component, name))
        if found is None:
            unknown = "UnknownVariable" if component in self._components else "UnknownComponent"
            return None, result | {"attributeStatus": unknown}
        if asked.get("attributeType", "Actual") != "Actual":
            return None, result | {"attributeStatus": "NotSupportedAttributeType"}
        return found, result

    def _read(self, name: str) -> str:
        setting = self._settings.find(name)
        return setting.read() if setting else ""


def _rejected(reason_code: str) -> Payload:
    return {"attributeStatus": "Rejected", "attributeStatusInfo": {"reasonCode": reason_code}}
