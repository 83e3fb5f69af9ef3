"""The AuthorizationKey that a charger or a new unit begins with: given, or made here and shown once."""

from dataclasses import dataclass
from typing import Any

import msgspec

from bfactors.admission import KeyVerifier
from bfactors.command import Command, CommandAnswer
from bfactors.identity import partition_of
from bfactors.key_weakness import weakness_of
from bfactors.ledger_fold import charger_key
from gateways.admin.command import Commands
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.problem import Problem
from gateways.admin.route import Call
from gateways.admin.unshown import UnshownKeys

GENERATED = "generated"


@dataclass(frozen=True, slots=True)
class FirstKey:
    """What a command carries of it: never the key itself. `weakness` is a code, seen here where the text is known."""

    verifier: KeyVerifier | None = None
    forms: tuple[KeyVerifier, ...] = ()
    origin: str | None = None
    weakness: str | None = None


class _Keys(msgspec.Struct, frozen=True):
    keys: tuple[KeyVerifier, ...] = ()


_KEYS = msgspec.json.Decoder(_Keys)


class FirstKeys:
    """Keys of commands whose answers may be lost on their way; one instance for all of them."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._mint = dependencies.keys
        self._commands = commands
        self._unshown = UnshownKeys(dependencies.clock)

    def prepare(
        self,
        call: Call,
        *,
        given: str | None,
        origin: str,
        security_profile: int,
        ocpp_versions: list[str],
        identities: tuple[str, ...],
    ) -> FirstKey:
        """The key of this request: the one given, else one made for profiles 1 and 2; none for others."""
        if given is None and security_profile not in (1, 2):
            return FirstKey()
        text = given if given is not None else self._unshown.hold(call.repetition.key, self._mint.mint).text
        return FirstKey(
            verifier=self._mint.verifier(text),
            forms=self._mint.forms(text, ocpp_versions),
            origin=origin if given is not None else GENERATED,
            weakness=None if given is None else weakness_of(text.encode(), identities=identities),
        )

    async def sent(self, call: Call, charger_id: str, command: Command) -> CommandAnswer:
        """Send the command; a key made for one that was refused is forgotten. Raises Problem."""
        try:
            return await self._commands.to_charger(call, charger_id, command)
        except Problem as problem:
            if problem.status != 503:
                self._unshown.take(call.repetition.key)
            raise

    async def shown(self, call: Call, charger_id: str, key: FirstKey, *, repeated: bool) -> dict[str, Any]:
        """What the answer says of a key made here: itself, or that it was shown before."""
        if key.origin != GENERATED:
            return {}
        text = await self._shown_once(call, charger_id, repeated=repeated)
        return {"key_shown": True} if text is None else {"authorization_key": text}

    async def _shown_once(self, call: Call, charger_id: str, *, repeated: bool) -> str | None:
        """When the answer to the first try was lost on its way, the repeat is the first anybody hears of the key; whether it
        is the key that was committed is asked of the ledger.
        """
        held = self._unshown.take(call.repetition.key)
        if held is None or not repeated:
            return held.text if held is not None else None
        row = await self._reader.aggregate(partition_of(charger_id), charger_key(charger_id))
        known = _KEYS.decode(row.state).keys if row is not None else ()
        return held.text if any(key.verifier == held.verifier.verifier for key in known) else None
