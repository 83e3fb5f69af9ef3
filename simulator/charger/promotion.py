"""What a charger keeps and drops once the central system has taken it in by some way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from simulator.charger.credential import ClientCredential
from simulator.charger.journal import Happening, Journal
from simulator.charger.memory import ChargerMemory
from simulator.charger.route import Way


def promote(
    memory: ChargerMemory,
    way: Way,
    renewed: ClientCredential | None,
    journal: Journal,
    clock: Callable[[], datetime],
    *,
    shuns_renewed: bool,
) -> None:
    """Change `memory` after a connection by `way` worked; `shuns_renewed` as in `ways`.

    `renewed` is what `memory.renewed` was when it was begun: a certificate that came since was not tried, and stays.

    Source: OCPP 2.0.1 A02.FR.10 and A02.FR.28 (certificates), A01 (password), A05.FR.06 (slots).
    """
    if way.credential is not None and way.credential is not memory.credential:
        memory.credential = way.credential
        if memory.renewed is way.credential:
            memory.renewed = None
        journal.record(Happening.CERTIFICATE_PROVEN, way.credential.fingerprint_sha256)
    elif (
        way.credential is not None and renewed is not None and renewed is memory.renewed and not shuns_renewed
    ):
        # The old certificate got in where the new one did not.
        discarded, memory.renewed = renewed.fingerprint_sha256, None
        journal.record(Happening.CERTIFICATE_DISCARDED, discarded)
        memory.note_security_event("DiscardedRenewedClientCertificate", clock(), discarded)
    if way.password is not None and memory.pending_password is not None:
        if way.password == memory.pending_password:
            memory.basic_password = way.password
            journal.record(Happening.PASSWORD_CHANGED)
        else:
            journal.record(Happening.PASSWORD_DISCARDED)
        memory.pending_password = None
    if way.profile.security_profile > memory.security_profile:
        memory.security_profile = way.profile.security_profile
        memory.network_profiles = {
            slot: profile
            for slot, profile in memory.network_profiles.items()
            if profile.security_profile >= memory.security_profile
        }
        memory.priority = tuple(slot for slot in memory.priority if slot in memory.network_profiles)
        journal.record(Happening.PROFILE_RAISED, str(memory.security_profile))
