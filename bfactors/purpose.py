"""What a certificate is for: the data every purpose file must give, and the loader that finds the files.

A purpose is one module in `bfactors/purposes/` with a constant `PURPOSE`. Nothing else names a purpose in an `if`.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType, ModuleType
from typing import Literal, get_args

import msgspec

Mode = Literal["managed", "brokered", "tracked-only"]
Realm = Literal["charger-identity", "vehicle-vas", "iso15118", "backend-server"]
"""The realm of firmware signing is not among them: no purpose can have it, so no bundle, job or campaign can name it."""
Rung = Literal["issued", "installed", "listed", "seen-live"]
IdentityKind = Literal["charger", "evse", "vehicle", "contract", "server"]
PARTS_OF_CHARGER: frozenset[IdentityKind] = frozenset({"evse"})
"""Kinds of identities that are a part of a charger: they live with it, and it speaks for them over OCPP."""
KeyUsage = Literal["digital_signature", "key_agreement"]


class PurposeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the rest of the system may ask about a purpose.

    `anchor_bundle` names the purpose whose trust anchor bundle must be confirmed on the endpoint before a leaf of this
    purpose is delivered (None: no gate). `active_rung` is the evidence that makes a leaf active; `seen-live` means a
    session opened with the leaf. `subject_fields` lists what the CSR's subject must carry, as names of identity facts.
    `name_scheme` is the scheme of the external id that the CN must be; None: what the inventory expects of the charger.
    """

    name: str
    title: str
    realm: Realm
    modes: tuple[Mode, ...]
    owner: str
    identity_kind: IdentityKind
    anchor_bundle: str | None
    evidence_rungs: tuple[Rung, ...]
    active_rung: Rung
    template: str
    """AWS Private CA template name, e.g. `EndEntityClientAuthCertificate/V1`."""
    template_without_usage: str | None = None
    """The one for a leaf without an extended key usage, as OCPP prefers it (A00.FR.514); None: it must have one."""
    key_algorithms: tuple[str, ...] = ("ec-secp256r1", "ec-secp384r1", "rsa-2048", "rsa-3072", "rsa-4096")
    subject_fields: tuple[Literal["common_name", "organization"], ...] = ("common_name", "organization")
    name_scheme: str | None = None
    domain_component: str | None = None
    """The DC by which whoever verifies the leaf tells what it is; None: nobody asks for one."""
    key_usage: tuple[KeyUsage, ...] = ("digital_signature",)
    """What a leaf without an extended key usage may do with its key."""
    client_auth: bool = True
    server_auth: bool = False
    is_session_credential: bool = False
    """The leaf opens the charger's own session: admission, grace, migration and cutting apply."""
    variants: tuple[str, ...] = ("default",)
    policy: Mapping[str, object] = {}
    """Where its built-in policy differs from everybody's; overrides stand above."""

    @property
    def is_of_part(self) -> bool:
        """Its certificates are a part's of a charger, not the charger's own."""
        return self.identity_kind in PARTS_OF_CHARGER

    @property
    def is_at_charger(self) -> bool:
        """A charger asks for its certificates and is sent them, for itself or for a part of it."""
        return self.identity_kind == "charger" or self.is_of_part


def _load(package: ModuleType) -> Mapping[str, PurposeSpec]:
    specs: dict[str, PurposeSpec] = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        spec: PurposeSpec = module.PURPOSE
        if spec.name != module_info.name:
            raise ValueError(f"purpose file {module_info.name}.py declares the name {spec.name!r}")
        if spec.realm not in get_args(Realm):
            raise ValueError(f"purpose file {module_info.name}.py declares the realm {spec.realm!r}")
        specs[spec.name] = spec
    return MappingProxyType(dict(sorted(specs.items())))


@cache
def purposes() -> Mapping[str, PurposeSpec]:
    """Every purpose by name, from the files in `bfactors/purposes/`."""
    from bfactors import purposes as package

    return _load(package)


def purpose(name: str) -> PurposeSpec:
    """The spec of one purpose. Raises KeyError if no file declares it."""
    return purposes()[name]


@cache
def session_purpose() -> PurposeSpec:
    """The purpose whose leaves open chargers' own sessions. Raises LookupError unless there is exactly one."""
    found = [s for s in purposes().values() if s.is_session_credential and s.identity_kind == "charger"]
    if len(found) != 1:
        raise LookupError(f"{len(found)} purposes open chargers' sessions")
    return found[0]
