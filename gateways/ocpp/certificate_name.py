"""What OCPP 2.x calls the certificates and anchors of our purposes; it exists only inside the dialects."""

from collections.abc import Mapping
from dataclasses import dataclass

from bfactors.purpose import purpose
from gateways.ocpp.dialect import NotSendable


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateNames:
    """What OCPP calls a leaf's use and an anchor's store: by the realm of its purpose, unless the purpose has its own."""

    use_of_realm: Mapping[str, str]
    use_of_purpose: Mapping[str, str | None]
    store_of_realm: Mapping[str, str]
    store_of_purpose: Mapping[str, str | None]

    def use(self, purpose_name: str) -> str:
        """OCPP's certificateType of a leaf. Raises NotSendable."""
        return _named(self.use_of_purpose, self.use_of_realm, purpose_name)

    def store(self, purpose_name: str) -> str:
        """OCPP's certificate store of the anchors that verify a purpose. Raises NotSendable."""
        return _named(self.store_of_purpose, self.store_of_realm, purpose_name)


def _named(by_purpose: Mapping[str, str | None], by_realm: Mapping[str, str], purpose_name: str) -> str:
    try:
        realm = purpose(purpose_name).realm
    except KeyError:
        raise NotSendable(f"no purpose is called {purpose_name}") from None
    found = by_purpose.get(purpose_name, by_realm.get(realm))
    if found is None:
        raise NotSendable(f"this OCPP version has no name for {purpose_name}")
    return found
