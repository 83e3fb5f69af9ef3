"""Keys that were made for a request whose answer is still open: what a repeat of the request is told after a 503."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from bfactors.admission import KeyVerifier
from bfactors.ports import Clock

KEPT_S = 900.0
KEPT_AT_MOST = 1024


@dataclass(frozen=True, slots=True)
class MintedKey:
    """An AuthorizationKey nobody has been told."""

    text: str = field(repr=False)
    verifier: KeyVerifier
    made_s: float


class UnshownKeys:
    """In memory only, bounded in number and time; losing one costs a rotation of that charger's key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: OrderedDict[str, MintedKey] = OrderedDict()

    def hold(self, request: str, mint: Callable[[], tuple[str, KeyVerifier]]) -> MintedKey:
        """The key of this request: the one made for an earlier try of it, or a new one."""
        now_s = self._clock.monotonic()
        while self._held and now_s - next(iter(self._held.values())).made_s > KEPT_S:
            self._held.popitem(last=False)
        held = self._held.get(request)
        if held is None:
            held = self._held[request] = MintedKey(*mint(), now_s)
            if len(self._held) > KEPT_AT_MOST:
                self._held.popitem(last=False)
        return held

    def take(self, request: str) -> MintedKey | None:
        """The key, once: its request has been answered."""
        return self._held.pop(request, None)
