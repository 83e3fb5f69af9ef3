"""`bfactors.ports.SecretStore` in memory, without seals: what is put can be looked at."""

from datetime import datetime

from bfactors.disclosed import Disclosed
from bfactors.errors import Unavailable
from bfactors.secret import OpenedSecret, SecretName


class FakeSecretStore:
    """Expiry is noted and left to the test; `away` makes every call fail."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[OpenedSecret, datetime | None]] = {}
        self.away = False

    async def put(self, name: SecretName, disclosed: Disclosed, expires_at: datetime | None) -> bool:
        self._check()
        if name.secret_id in self.held:
            return False
        self.held[name.secret_id] = (OpenedSecret(name, disclosed), expires_at)
        return True

    async def open(self, secret_id: str) -> OpenedSecret | None:
        self._check()
        found = self.held.get(secret_id)
        return None if found is None else found[0]

    async def reseal(self, secret_id: str, expires_at: datetime | None) -> bool:
        self._check()
        if secret_id not in self.held:
            return False
        self.held[secret_id] = (self.held[secret_id][0], expires_at)
        return True

    async def delete(self, secret_id: str) -> bool:
        self._check()
        return self.held.pop(secret_id, None) is not None

    async def expire(self) -> int:
        self._check()
        return 0

    def _check(self) -> None:
        if self.away:
            raise Unavailable("PostgreSQL", "told to be away")
