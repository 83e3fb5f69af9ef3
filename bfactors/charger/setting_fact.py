"""What a charger's own settings say of what it can take: read with its inventory and on its way to another profile.

A setting it does not have, or a value that is none, says nothing. What is learned holds until its firmware is another.
"""

from bfactors import event as e
from bfactors.charger.draft import Draft
from bfactors.instruction import SettingName
from bfactors.ocpp import Answered

READ: tuple[SettingName, ...] = ("network-priority", "max-chain-chars", "trust-store-slots", "csr-wait-s")
"""All that anything here is decided by."""
_LEARNED = {"max-chain-chars": 100_000, "trust-store-slots": 10_000, "csr-wait-s": 7 * 86_400}
"""Kept as capabilities, up to a value beyond which the charger names no limit in earnest."""


def learn(draft: Draft, outcome: Answered) -> None:
    """Record what the answer tells that was not known."""
    for setting in outcome.settings:
        value = setting.value or ""
        if setting.name not in _LEARNED or not (value.isascii() and value.isdecimal()) or len(value) > 9:
            continue
        if not 0 < int(value) <= _LEARNED[setting.name]:
            continue
        fact = f"{setting.name}={int(value)}"
        if fact not in draft.state.observed_facts:
            draft.record(
                e.ChargerFactObserved(
                    charger_id=draft.state.charger_id, fact=fact, evidence_ref=draft.context.cause
                )
            )
