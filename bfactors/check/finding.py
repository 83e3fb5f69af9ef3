"""What a check says when it objects."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """`reason` is stable and kebab-case; `message` is for the person who has to act, and names what was found."""

    reason: str
    message: str
