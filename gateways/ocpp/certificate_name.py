"""What OCPP 2.x calls the certificates and anchors of our purposes; it exists only inside the dialects."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bfactors.purpose import purpose
from gateways.ocpp.dialect import NotSendable


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateNames:
    """What OCPP calls a leaf's use and an anchor's store: by the realm of its purpose, unless the purpose has its own."""

    use_of_realm: Mapping[str, str]
    use_of_purpose: Mapping[str, str | None]
    store_of_realm: Mapping[str, str]
    store_of_purpose: Mapping[str, str | None]
    chain_of_realm: Mapping[str, str] = field(default_factory=dict)
    """What lists of a realm's leaves are called, where chargers list them."""

    def use(self, purpose_name: str) -> str:
        """OCPP's certificateType of a leaf. Raises NotSendable."""
        return _named(self.use_of_purpose, self.use_of_realm, purpose_name)

    def store(self, purpose_name: str) -> str:
        """OCPP's certificate store of the anchors that verify a purpose. Raises NotSendable."""
        return _named(self.store_of_purpose, self.store_of_realm, purpose_name)

    def listed(self, purpose_name: str, *, with_leaves: bool) -> list[str]:
        """The types to list for the anchors that verify a purpose, and for its leaves. Raises NotSendable."""
        chain = self.chain_of_realm.get(_realm(purpose_name)) if with_leaves else None
        return [self.store(purpose_name), *([chain] if chain is not None else [])]


def _named(by_purpose: Mapping[str, str | None], by_realm: Mapping[str, str], purpose_name: str) -> str:
    found = by_purpose.get(purpose_name, by_realm.get(_realm(purpose_name)))
    if found is None:
        raise NotSendable(f"this OCPP version has no name for {purpose_name}")
    return found


def _realm(purpose_name: str) -> str:
    try:
        return purpose(purpose_name).realm
    except KeyError:
        raise NotSendable(f"no purpose is called {purpose_name}") from None
