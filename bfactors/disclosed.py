"""A secret on its way to the one frame that carries it: bytes that never print themselves."""

import msgspec


class Disclosed(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """An opened secret. It lives in one connect process, from its one send to the answer; no log, event or message shows it."""

    value: bytes

    def __repr__(self) -> str:
        return "Disclosed(***)"

    __str__ = __repr__
