"""A part of a charger that has certificates of its own, such as an SECC: what its charger's ledger must know of it."""

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part. `names` as `bfactors.identity_record.scheme` writes them; `evses`: OCPP numbers, empty where it serves all.

    A retired one is kept: certificates may be left that are its own.
    """

    identity_id: str
    kind: str
    names: tuple[str, ...]
    evses: tuple[int, ...] = ()
    is_retired: bool = False

    def named(self, scheme: str | None) -> str | None:
        """Its external id of that scheme."""
        for name in self.names:
            of, _, value = name.partition(":")
            if of == scheme:
                return value
        return None
