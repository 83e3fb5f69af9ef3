"""How much may be uploaded at once and kept at all, per charger and for the fleet, counted in memory."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from bfactors.log_upload import StoredLog, charger_key

MIB = 1024 * 1024

Exceeded = Literal["charger-uploads", "fleet-uploads", "charger-quota", "fleet-quota"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLimits:
    """Bounds; bytes include those of uploads under way."""

    uploads: int = 32
    uploads_per_charger: int = 2
    stored_bytes: int = 10 * 1024 * MIB
    stored_bytes_per_charger: int = 512 * MIB


class Quota:
    """The count of uploads and bytes of one process. What other processes store is learned by `learn`."""

    def __init__(self, limits: QuotaLimits) -> None:
        self._limits = limits
        self._stored: Counter[str] = Counter()
        self._stored_bytes = 0
        self._open: dict[object, tuple[str, int]] = {}

    @property
    def stored_bytes(self) -> int:
        """Bytes of finished logs."""
        return self._stored_bytes

    @property
    def uploads(self) -> int:
        """Uploads under way."""
        return len(self._open)

    def learn(self, stored: Iterable[StoredLog]) -> None:
        """Replace what is known of finished logs by what the store holds."""
        counted: Counter[str] = Counter()
        for log in stored:
            counted[log.charger_key] += log.size_bytes
        self._stored = counted
        self._stored_bytes = counted.total()

    def enter(self, upload: object, charger_id: str, announced_bytes: int) -> Exceeded | None:
        """Let an upload begin, or say which limit forbids it. `announced_bytes` 0: not known."""
        key = charger_key(charger_id)
        if sum(1 for owner, _ in self._open.values() if owner == key) >= self._limits.uploads_per_charger:
            return "charger-uploads"
        if len(self._open) >= self._limits.uploads:
            return "fleet-uploads"
        exceeded = self._exceeded(key, announced_bytes)
        if exceeded is None:
            self._open[upload] = (key, 0)
        return exceeded

    def grow(self, upload: object, count: int) -> Exceeded | None:
        """Count bytes of an upload before they are written."""
        key, size = self._open[upload]
        exceeded = self._exceeded(key, count)
        if exceeded is None:
            self._open[upload] = (key, size + count)
        return exceeded

    def leave(self, upload: object, *, is_stored: bool) -> None:
        """An upload is over; its bytes stay counted only if they are stored. Again: nothing."""
        key, size = self._open.pop(upload, ("", 0))
        if is_stored:
            self._stored[key] += size
            self._stored_bytes += size

    def _exceeded(self, key: str, more: int) -> Exceeded | None:
        mine = self._stored[key] + sum(size for owner, size in self._open.values() if owner == key)
        if mine + more > self._limits.stored_bytes_per_charger:
            return "charger-quota"
        everything = self._stored_bytes + sum(size for _, size in self._open.values())
        if everything + more > self._limits.stored_bytes:
            return "fleet-quota"
        return None
