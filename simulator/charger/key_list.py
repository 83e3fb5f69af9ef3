"""OCPP 1.6's configuration keys, over the same settings as the device model of 2.x."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.charger.frame import CallRefused, Payload, text_of
from simulator.charger.settings import PASSWORD, Settings, ValueRefused


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key and the setting it stands for."""

    name: str
    setting: str
    is_readonly: bool = False


class KeyList:
    """ChangeConfiguration and GetConfiguration of one charger."""

    def __init__(self, settings: Settings, keys: tuple[Key, ...]) -> None:
        self._settings = settings
        self._keys = {key.name: key for key in keys}

    def change(self, payload: Payload) -> str:
        """The status of one key's writing."""
        key = self._keys.get(text_of(payload, "key"))
        value = text_of(payload, "value")
        if key is None:
            return "NotSupported"
        if key.is_readonly or (key.setting == PASSWORD and not _is_hex_key(value)):
            return "Rejected"
        try:
            return self._settings.write(key.setting, value)
        except ValueRefused:
            return "Rejected"

    def get(self, payload: Payload) -> Payload:
        """The keys asked for, or all that can be read."""
        asked = payload.get("key") or [name for name, key in self._keys.items() if not self._is_secret(key)]
        if not isinstance(asked, list):
            raise CallRefused("TypeConstraintViolation", "key is no list")
        known = [self._keys[name] for name in asked if name in self._keys]
        answer: Payload = {"configurationKey": [self._entry(key) for key in known]}
        unknown = [str(name) for name in asked if name not in self._keys]
        return answer | ({"unknownKey": unknown} if unknown else {})

    def _entry(self, key: Key) -> Payload:
        entry: Payload = {"key": key.name, "readonly": key.is_readonly}
        setting = self._settings.find(key.setting)
        if setting is not None and not setting.is_secret:
            entry["value"] = setting.read()[:500]
        return entry

    def _is_secret(self, key: Key) -> bool:
        setting = self._settings.find(key.setting)
        return setting is not None and setting.is_secret


def _is_hex_key(value: str) -> bool:
    """16 to 20 bytes in hex digits.

    Source: OCPP 1.6 security whitepaper, A00.FR.205.
    """
    try:
        return 16 <= len(bytes.fromhex(value)) <= 20 and len(value) in range(32, 41, 2)
    except ValueError:
        return False
