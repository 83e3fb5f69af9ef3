"""Folding what never became a session: many refusals of one kind are one fact with a count. No clock, no I/O."""

from bfactors.evidence import ConnectionRefused, HandshakeFailed

KINDS_PER_SOURCE = 8
"""Different (charger, reason) pairs kept per source address and window; what exceeds them is folded per reason."""

KEYS_MAX = 1_000
"""Different facts kept per window over all sources; what exceeds them is folded under no address."""

ANY_ADDRESS = ""


class EdgeWindow:
    """What happened at the edge since the window opened; `facts` closes it."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, str, str], ConnectionRefused] = {}
        self._kinds_of: dict[str, int] = {}
        self._handshakes: dict[str, int] = {}

    def refused(self, charger_id: str, fact: ConnectionRefused) -> None:
        """Count one refusal; `charger_id` is "" when what was claimed cannot be a charger's id."""
        source, reason = fact.remote_address, fact.reason
        if (charger_id, source, reason) not in self._refusals:
            if len(self._refusals) >= KEYS_MAX:
                charger_id, source = "", ANY_ADDRESS
            elif self._kinds_of.get(source, 0) >= KINDS_PER_SOURCE:
                charger_id = ""
        key = (charger_id, source, reason)
        folded = self._refusals.get(key)
        if folded is None:
            self._kinds_of[source] = self._kinds_of.get(source, 0) + 1
        self._refusals[key] = ConnectionRefused(
            remote_address=source,
            reason=reason,
            http_status=fact.http_status,
            count=fact.count + (folded.count if folded else 0),
            fingerprint_sha256=fact.fingerprint_sha256 or (folded.fingerprint_sha256 if folded else None),
        )

    def handshake_failed(self, remote_address: str) -> None:
        if remote_address not in self._handshakes and len(self._handshakes) >= KEYS_MAX:
            remote_address = ANY_ADDRESS
        self._handshakes[remote_address] = self._handshakes.get(remote_address, 0) + 1

    def facts(self) -> list[tuple[str, ConnectionRefused | HandshakeFailed]]:
        """(charger id or "", fact) for everything in the window, which is empty afterwards."""
        facts: list[tuple[str, ConnectionRefused | HandshakeFailed]] = [
            (charger_id, refusal) for (charger_id, _, _), refusal in self._refusals.items()
        ]
        facts += [
            ("", HandshakeFailed(remote_address=address, count=count))
            for address, count in self._handshakes.items()
        ]
        self._refusals.clear()
        self._kinds_of.clear()
        self._handshakes.clear()
        return facts

    def __len__(self) -> int:
        return len(self._refusals) + len(self._handshakes)
