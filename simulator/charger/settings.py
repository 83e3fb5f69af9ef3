"""What can be set on a charger, by OCPP 2.x's variable names; how each version shows it is in its own tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from simulator.charger.configuration import ChargerConfiguration, NetworkProfile
from simulator.charger.fault import FaultScript
from simulator.charger.fault_conduct import RebootRequiredFor, RejectsSetting
from simulator.charger.fault_identity import KeepsOldKey
from simulator.charger.journal import Happening, Journal
from simulator.charger.memory import ChargerMemory
from simulator.charger.route import lacks

PASSWORD = "BasicAuthPassword"  # noqa: S105  # a name, no secret
PROFILE = "SecurityProfile"


class ValueRefused(Exception):
    """Why a value is not taken; the text is one of OCPP's reason codes."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How one setting is read and written; without `write` it can only be read, a secret cannot be read."""

    read: Callable[[], str]
    write: Callable[[str], None] | None = None
    is_secret: bool = False


class Settings:
    """The settings of one charger, over its memory."""

    def __init__(
        self,
        configuration: ChargerConfiguration,
        memory: ChargerMemory,
        faults: FaultScript,
        journal: Journal,
    ) -> None:
        self._configuration = configuration
        self._memory = memory
        self._faults = faults
        self._journal = journal
        self._plain = {"ISO15118PnCEnabled": "true", "ContractValidationOffline": "false"}
        self._settings = self._make_settings()

    def _make_settings(self) -> dict[str, Setting]:
        memory, configuration = self._memory, self._configuration

        def fixed(value: object) -> Setting:
            return Setting(lambda: str(value))

        return {
            PROFILE: Setting(lambda: str(memory.security_profile), self._stage_profile),
            "Identity": fixed(configuration.charger_id),
            "OrganizationName": Setting(lambda: memory.organization, self._organize),
            PASSWORD: Setting(lambda: "", self._change_password, is_secret=True),
            "CertSigningWaitMinimum": Setting(
                lambda: str(round(memory.signing_wait_s)), self._set_signing_wait
            ),
            "CertSigningRepeatTimes": Setting(
                lambda: str(memory.signing_repeat_times), self._set_signing_repeats
            ),
            "CertificateEntries": Setting(lambda: str(memory.trust.size)),
            "CertificateStoreMaxLength": fixed(configuration.certificate_entries),
            "MaxCertificateChainSize": fixed(configuration.maximum_chain_chars),
            "AdditionalRootCertificateCheck": fixed(str(configuration.additional_root_check).lower()),
            "SeccId": fixed(configuration.secc_id),
            "CountryName": fixed(configuration.country),
            "NetworkConfigurationPriority": Setting(
                lambda: ",".join(str(slot) for slot in memory.priority), self._prioritize
            ),
            "HeartbeatInterval": Setting(lambda: str(memory.heartbeat_s or 0), self._set_heartbeat),
            "NetworkProfileConnectionAttempts": fixed(configuration.connection_attempts),
            "FileTransferProtocols": fixed("HTTP,HTTPS"),
            "NumberOfConnectors": fixed(configuration.evses),
        } | {name: self._switch(name) for name in self._plain}

    def _switch(self, name: str) -> Setting:
        def write(value: str) -> None:
            if value.lower() not in ("true", "false"):
                raise ValueRefused("InvalidValue")
            self._plain[name] = value.lower()

        return Setting(lambda: self._plain[name], write)

    def find(self, name: str) -> Setting | None:
        """One setting."""
        return self._settings.get(name)

    def write(self, name: str, value: str) -> str:
        """Give a setting a value; the answer is Accepted, or RebootRequired if it takes a reset to hold.

        Raises: ValueRefused; KeyError for a name `find` does not know.
        """
        setting = self._settings[name]
        if setting.write is None:
            raise ValueRefused("ReadOnly")
        if self._faults.spend(RejectsSetting, name):
            raise ValueRefused("WriteFault")
        if self._faults.spend(RebootRequiredFor, name):
            self._memory.staged[name] = value
            return "RebootRequired"
        setting.write(value)
        return "Accepted"

    def reset(self) -> None:
        """What was staged takes effect, or is forgotten if it turns out to be no value."""
        staged, self._memory.staged = self._memory.staged, {}
        for name, value in staged.items():
            with suppress(ValueRefused):
                if name == PROFILE:
                    self._raise_profile(int(value))
                else:
                    self._write_now(name, value)

    def _write_now(self, name: str, value: str) -> None:
        write = self._settings[name].write
        if write is not None:
            write(value)

    def _organize(self, value: str) -> None:
        if not value:
            raise ValueRefused("InvalidValue")
        self._memory.organization = value

    def _change_password(self, value: str) -> None:
        if not 16 <= len(value) <= 64:  # versions look closer; 64 is the most any of them takes
            raise ValueRefused("InvalidValue")
        self._journal.record(Happening.PASSWORD_ACCEPTED)
        if not self._faults.spend(KeepsOldKey):
            self._memory.pending_password = value

    def _stage_profile(self, value: str) -> None:
        """OCPP 1.6's way up: with the next reset the charger connects with a higher security profile (A05)."""
        profile = _whole(value, least=0)
        if not self._memory.security_profile < profile <= 3:
            raise ValueRefused("NoSecurityDowngrade")
        has_password = bool(self._memory.pending_password or self._memory.basic_password)
        if lacks(self._memory, profile) or (profile < 3 and not has_password):
            raise ValueRefused("InvalidNetworkConf")
        self._memory.staged[PROFILE] = value

    def _raise_profile(self, profile: int) -> None:
        memory = self._memory
        url = memory.network_profiles[memory.priority[0]].url
        if profile >= 2 and url.startswith("ws://"):
            url = self._configuration.secure_url or "wss://" + url.removeprefix("ws://")
        slot = max(memory.network_profiles) + 1
        memory.network_profiles[slot] = NetworkProfile(url, profile)
        memory.priority = (slot, *memory.priority)

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


def _whole(value: str, *, least: int) -> int:
    try:
        number = int(value)
    except ValueError as error:
        raise ValueRefused("InvalidValue") from error
    if number < least:
        raise ValueRefused("ValueOutOfRange")
    return number
