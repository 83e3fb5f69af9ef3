"""The form all ledger events share."""

import msgspec


class LedgerRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Frozen, past tense, camelCase where it travels."""
