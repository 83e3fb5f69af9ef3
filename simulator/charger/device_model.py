"""The variables a charger shows and lets itself be given (OCPP 2.0.1 device model, the security part)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from simulator.charger.configuration import ChargerConfiguration
from simulator.charger.frame import Payload, object_of, text_of
from simulator.charger.memory import ChargerMemory
from simulator.charger.route import lacks


class Mutability(StrEnum):
    """Who may do what with a variable."""

    READ_ONLY = "ReadOnly"
    READ_WRITE = "ReadWrite"
    WRITE_ONLY = "WriteOnly"


class ValueRefused(Exception):
    """Why a value is not taken; the text is one of OCPP's reason codes."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: how it is read and written. `values` names the choices where there are some."""

    component: str
    name: str
    data_type: str
    mutability: Mutability
    read: Callable[[], str]
    write: Callable[[str], None] | None = None
    values: str | None = None


class DeviceModel:
    """The variables of one charger, over its memory."""

    def __init__(self, configuration: ChargerConfiguration, memory: ChargerMemory) -> None:
        self._configuration = configuration
        self._memory = memory
        self._variables = {
            (variable.component, variable.name): variable for variable in self._make_variables()
        }
        self._components = {component for component, _ in self._variables}

    def _make_variables(self) -> list[Variable]:
        memory, configuration = self._memory, self._configuration
        fixed, free = Mutability.READ_ONLY, Mutability.READ_WRITE
        slots = ",".join(str(slot) for slot in configuration.slots)
        return [
            Variable(
                "SecurityCtrlr", "SecurityProfile", "integer", fixed, lambda: str(memory.security_profile)
            ),
            Variable("SecurityCtrlr", "Identity", "string", fixed, lambda: configuration.charger_id),
            Variable(
                "SecurityCtrlr",
                "OrganizationName",
                "string",
                free,
                lambda: memory.organization,
                self._organize,
            ),
            Variable(
                "SecurityCtrlr",
                "BasicAuthPassword",
                "string",
                Mutability.WRITE_ONLY,
                lambda: "",
                self._change_password,
            ),
            Variable(
                "SecurityCtrlr",
                "CertSigningWaitMinimum",
                "integer",
                free,
                lambda: str(round(memory.signing_wait_s)),
                self._set_signing_wait,
            ),
            Variable(
                "SecurityCtrlr",
                "CertSigningRepeatTimes",
                "integer",
                free,
                lambda: str(memory.signing_repeat_times),
                self._set_signing_repeats,
            ),
            Variable("SecurityCtrlr", "CertificateEntries", "integer", fixed, lambda: str(memory.trust.size)),
            Variable(
                "SecurityCtrlr",
                "MaxCertificateChainSize",
                "integer",
                fixed,
                lambda: str(configuration.maximum_chain_chars),
            ),
            Variable(
                "OCPPCommCtrlr",
                "NetworkConfigurationPriority",
                "SequenceList",
                free,
                lambda: ",".join(str(slot) for slot in memory.priority),
                self._prioritize,
                slots,
            ),
            Variable(
                "OCPPCommCtrlr",
                "HeartbeatInterval",
                "integer",
                free,
                lambda: str(memory.heartbeat_s or 0),
                self._set_heartbeat,
            ),
            Variable(
                "OCPPCommCtrlr",
                "NetworkProfileConnectionAttempts",
                "integer",
                fixed,
                lambda: str(configuration.connection_attempts),
            ),
            Variable("OCPPCommCtrlr", "FileTransferProtocols", "MemberList", fixed, lambda: "HTTPS"),
        ]

    def set(self, asked: Payload) -> Payload:
        """One SetVariableData entry done, as its SetVariableResult."""
        component, name = _address(asked)
        value = text_of(asked, "attributeValue")
        result: Payload = {"component": asked["component"], "variable": asked["variable"]}
        if "attributeType" in asked:
            result["attributeType"] = asked["attributeType"]
        found = self._variables.get((component, name))
        if found is None:
            unknown = "UnknownVariable" if component in self._components else "UnknownComponent"
            return result | {"attributeStatus": unknown}
        if asked.get("attributeType", "Actual") != "Actual":
            return result | {"attributeStatus": "NotSupportedAttributeType"}
        if found.write is None:
            return result | _rejected("ReadOnly")
        try:
            found.write(value)
        except ValueRefused as error:
            return result | _rejected(str(error))
        return result | {"attributeStatus": "Accepted"}

    def get(self, asked: Payload) -> Payload:
        """One GetVariableData entry, as its GetVariableResult."""
        component, name = _address(asked)
        result: Payload = {"component": asked["component"], "variable": asked["variable"]}
        if "attributeType" in asked:
            result["attributeType"] = asked["attributeType"]
        found = self._variables.get((component, name))
        if found is None:
            unknown = "UnknownVariable" if component in self._components else "UnknownComponent"
            return result | {"attributeStatus": unknown}
        if asked.get("attributeType", "Actual") != "Actual":
            return result | {"attributeStatus": "NotSupportedAttributeType"}
        if found.mutability is Mutability.WRITE_ONLY:
            return result | _rejected("WriteOnly")
        return result | {"attributeStatus": "Accepted", "attributeValue": found.read()}

    def report(self) -> list[Payload]:
        """All variables as ReportData; write-only ones without a value."""
        entries: list[Payload] = []
        for variable in self._variables.values():
            attribute: Payload = {"type": "Actual", "mutability": variable.mutability.value}
            if variable.mutability is not Mutability.WRITE_ONLY:
                attribute["value"] = variable.read()
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

    def _organize(self, value: str) -> None:
        if not value:
            raise ValueRefused("InvalidValue")
        self._memory.organization = value

    def _change_password(self, value: str) -> None:
        if not 16 <= len(value) <= 40:  # A00.FR.205
            raise ValueRefused("InvalidValue")
        self._memory.basic_password = value

    def _set_signing_wait(self, value: str) -> None:
        self._memory.signing_wait_s = _whole(value, least=1)

    def _set_signing_repeats(self, value: str) -> None:
        self._memory.signing_repeat_times = _whole(value, least=0)

    def _set_heartbeat(self, value: str) -> None:
        self._memory.heartbeat_s = _whole(value, least=1)

    def _prioritize(self, value: str) -> None:
        priority = tuple(_whole(part, least=0) for part in value.split(","))
        for slot in priority:
            profile = self._memory.network_profiles.get(slot)
            if profile is None or len(set(priority)) != len(priority):
                raise ValueRefused("InvalidConfSlot")
            if lacks(self._memory, profile.security_profile):
                raise ValueRefused("InvalidNetworkConf")
        self._memory.priority = priority


def _address(asked: Payload) -> tuple[str, str]:
    return text_of(object_of(asked, "component"), "name"), text_of(object_of(asked, "variable"), "name")


def _rejected(reason_code: str) -> Payload:
    return {"attributeStatus": "Rejected", "attributeStatusInfo": {"reasonCode": reason_code}}


def _whole(value: str, *, least: int) -> int:
    try:
        number = int(value)
    except ValueError as error:
        raise ValueRefused("InvalidValue") from error
    if number < least:
        raise ValueRefused("ValueOutOfRange")
    return number
