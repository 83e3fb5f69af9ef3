"""What no policy may loosen in a realm: the bounds that hold for every certificate in it, whoever sets what.

The lifetimes are this house's (ADR 0026): long enough for every purpose in the realm, short enough that a leaf which is
lost from sight ends by itself within a planning period.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from bfactors.policy import Policy
from bfactors.purpose import PurposeSpec, Realm


class RealmRule(msgspec.Struct, frozen=True, kw_only=True):
    """The bounds of one realm."""

    longest_validity_days: int


RULES: Mapping[Realm, RealmRule] = MappingProxyType(
    {
        "charger-identity": RealmRule(longest_validity_days=1095),
        "vehicle-vas": RealmRule(longest_validity_days=1095),
        "iso15118": RealmRule(longest_validity_days=1461),
        "backend-server": RealmRule(longest_validity_days=398),
    }
)


def loosened(spec: PurposeSpec, policy: Policy) -> list[tuple[str, str]]:
    """What in a policy goes beyond the rules of the purpose's realm, as (field, message)."""
    found: list[tuple[str, str]] = []
    longest = RULES[spec.realm].longest_validity_days
    if policy.validity_days > longest:
        found.append(("validity_days", f"must not exceed {longest}, the limit of the realm {spec.realm}"))
    foreign = [name for name in policy.key_algorithms if name not in spec.key_algorithms]
    if foreign and policy.key_algorithms != Policy().key_algorithms:
        found.append(("key_algorithms", f"{foreign[0]} is not a key that {spec.name} may have"))
    return found
