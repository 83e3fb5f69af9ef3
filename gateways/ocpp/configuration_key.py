"""The security settings as configuration keys of OCPP 1.6: our name for each, and the two calls that read and write them.

Source: the OCA security whitepaper for 1.6 (A01, A05 and its list of configuration keys), and the application note on
ISO 15118 with OCPP 1.6 for the two keys about waiting for a signed certificate.
"""

from types import MappingProxyType

from bfactors.authorization_key import AuthorizationKey
from bfactors.disclosed import Disclosed
from bfactors.instruction import SettingName
from bfactors.ocpp import ReadSetting
from gateways.ocpp.dialect import NotSendable
from gateways.ocpp.frame import Payload

SECURITY_PROFILE = "SecurityProfile"
AUTHORIZATION_KEY = "AuthorizationKey"
"""Write-only: no charger tells it."""

KEY_OF: MappingProxyType[SettingName, str] = MappingProxyType(
    {
        "organization": "CpoName",
        "additional-root-check": "AdditionalRootCertificateCheck",
        "max-chain-chars": "CertificateSignedMaxChainSize",
        "trust-store-slots": "CertificateStoreMaxLength",
        "csr-wait-s": "CertSigningWaitMinimum",
        "csr-repeats": "CertSigningRepeatTimes",
        "security-profile": SECURITY_PROFILE,
    }
)
"""There is none for `network-priority`: 1.6 knows no network profiles."""

_FIXED: frozenset[SettingName] = frozenset({"max-chain-chars", "trust-store-slots", "security-profile"})
"""Not for a setting to change: the first two only the charger knows, and the profile is raised with care, by its own kind."""

_KEY_OCTETS = range(16, 21)
_NAME_OF = {key.casefold(): name for name, key in KEY_OF.items()}
"""The case of a key does not count."""


def writing(key: str, value: str) -> tuple[str, Payload]:
    """ChangeConfiguration."""
    return "ChangeConfiguration", {"key": key, "value": value}


def writing_setting(name: SettingName, value: str) -> tuple[str, Payload]:
    """ChangeConfiguration of one setting. Raises NotSendable."""
    key = KEY_OF.get(name)
    if key is None or name in _FIXED:
        raise NotSendable(f"OCPP 1.6 has no key to set {name} with")
    return writing(key, value)


def reading(names: tuple[SettingName, ...]) -> tuple[str, Payload]:
    """GetConfiguration of these settings, as far as 1.6 has them. Raises NotSendable if it has none."""
    keys = [KEY_OF[name] for name in names if name in KEY_OF]
    if not keys:  # an empty list would ask for every key there is
        raise NotSendable("OCPP 1.6 has no key for any of these settings")
    return "GetConfiguration", {"key": keys}


def read(payload: Payload) -> tuple[ReadSetting, ...]:
    """What GetConfiguration was answered; keys we did not ask for, or the charger does not have, are missing."""
    return tuple(
        ReadSetting(name, entry.get("value"), entry["readonly"])
        for entry in payload.get("configurationKey", ())
        if (name := _NAME_OF.get(entry["key"].casefold())) is not None
    )


def key_digits(secret: Disclosed) -> str:
    """An AuthorizationKey in hex (A01): of its bare bytes, or of what the sealed store holds. Raises NotSendable."""
    if len(secret.value) in _KEY_OCTETS:
        return secret.value.hex()
    try:
        return AuthorizationKey.from_disclosed(secret, "1.6").wire_text("1.6")
    except UnicodeDecodeError:
        raise NotSendable("the AuthorizationKey is no text") from None
    except ValueError as problem:
        raise NotSendable(f"the AuthorizationKey {problem}") from None
