"""Managed identities: chargers as they are elsewhere, and EVSEs, vehicles, contracts and servers, which are registered here.

A VIN, an EMAID or a PCID ends here: it is named and sealed before a command is made, and shown masked, to few.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bfactors.disclosed import Disclosed
from bfactors.free_text import has_identifier
from bfactors.identity_record.command import (
    ChangeIdentity,
    ErasePersonalData,
    RegisterIdentity,
    RetireIdentity,
)
from bfactors.identity_record.scheme import (
    AT_A_CHARGER,
    EVERY_SCHEME,
    Kind,
    is_personal,
    names_of,
    scheme_of,
)
from bfactors.pseudonym import KINDS, NoIdentifier, masked, normalised
from bfactors.refusal import Refusal
from gateways.admin import shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.identity_body import (
    ChangeIdentityBody,
    ErasePersonalDataBody,
    IdentityQuery,
    RegisterIdentityBody,
)
from gateways.admin.inbound import given
from gateways.admin.ports import Body
from gateways.admin.problem import Problem
from gateways.admin.role import SEE_MASKED
from gateways.admin.route import Answer, Call, Route

_ROOT = "/api/v1/identities"
_CHARGER: Kind = "charger"
_LIKE_PCID = re.compile(r"\s*[A-Za-z0-9]{17,18}\s*", re.ASCII)
_BY_NAME = (*KINDS, "evse_id", "secc_id", "host_name")
"""Queries of one scheme each."""


class Identities:
    """`/api/v1/identities`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._values = dependencies.personal
        self._keys = dependencies.pseudonym_keys
        self._clock = dependencies.clock
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        one = _ROOT + "/{identity_id}"
        return (
            Route(
                method="POST",
                path=_ROOT,
                operation="identities.register",
                summary="Register an EVSE, a vehicle, a contract or a server",
                description="409 `external-id-held` names the identity that bears one of the external ids already.",
                handler=self.register,
                body=RegisterIdentityBody,
                answer=shape.Identity,
                status=201,
                conflicts=True,
                secret_fields=("external_ids",),
                further={404: "The charger is unknown"},
            ),
            Route(
                method="GET",
                path=_ROOT,
                operation="identities.list",
                summary="Identities of every kind, by id",
                handler=self.listed,
                query=IdentityQuery,
                answer=shape.Page[shape.Identity],
            ),
            Route(
                method="GET",
                path=one,
                operation="identities.get",
                summary="One identity",
                handler=self.get,
                answer=shape.Identity,
            ),
            Route(
                method="PATCH",
                path=one,
                operation="identities.change",
                summary="Change what an identity is called, or where it stands",
                handler=self.change,
                body=ChangeIdentityBody,
                answer=shape.Identity,
                conflicts=True,
                secret_fields=("external_ids",),
            ),
            Route(
                method="DELETE",
                path=one,
                operation="identities.retire",
                summary="Retire an identity: its external ids are free for another, the record stays",
                handler=self.retire,
                answer=shape.Identity,
                conflicts=True,
            ),
            Route(
                method="POST",
                path=one + "/erase-personal-data",
                operation="identities.erase_personal_data",
                summary="Delete what an identity's pseudonyms stand for",
                description="The ledger stays as it is: it never held more than the pseudonyms. The same VIN given again gets "
                "the same pseudonym.",
                handler=self.erase,
                body=ErasePersonalDataBody,
                answer=shape.Identity,
                conflicts=True,
            ),
        )

    async def register(self, call: Call, body: RegisterIdentityBody) -> Answer:
        identity_id = call.repetition.new_id(body.kind)
        place = given(body)
        command = RegisterIdentity(
            identity_id=identity_id,
            kind=body.kind,
            external_ids=await self._named(body.external_ids),
            family=place.get("family", ""),
            site=place.get("site", ""),
            cohort=place.get("cohort", ""),
            charger_id=place.get("charger_id"),
            evses=tuple(place.get("evses", ())),
        )
        home = command.charger_id or identity_id
        recorded = result_of(await self._commands.to_identity(call, home, command))
        location = {"Location": f"{_ROOT}/{recorded['identity_id']}"}
        return Answer(await self._shown_now(call, recorded), 201, location)

    async def listed(self, call: Call, query: IdentityQuery) -> Answer:
        filters = given(query)
        sought = [self._sought(scheme, filters.pop(scheme)) for scheme in _BY_NAME if scheme in filters]
        if "q" in filters:
            names = self._every_name(filters["q"])
            if _may_be_personal(filters["q"]):
                del filters["q"]  # a database may log what it is asked
                sought.append([name for name in names if is_personal(name)])
            else:
                filters["q_names"] = names
        if sought:
            filters["names"] = sought
        found = await self._reader.identities(**filters)
        if isinstance(found, Refusal):
            raise Problem.of_refusal(found)
        return Answer({**found, "items": await self._shown(call, found["items"])})

    async def get(self, call: Call) -> Answer:
        return Answer((await self._shown(call, [await self._find(call)]))[0])

    async def change(self, call: Call, body: ChangeIdentityBody) -> Answer:
        found = await self._own(call)
        changes = given(body)
        if "external_ids" in changes:
            changes["external_ids"] = await self._named(changes["external_ids"])
        if "evses" in changes:
            changes["evses"] = tuple(changes["evses"])
        return await self._ask(
            call,
            found,
            ChangeIdentity(identity_id=found["identity_id"], charger_id=found["charger_id"], **changes),
        )

    async def retire(self, call: Call) -> Answer:
        found = await self._own(call)
        return await self._ask(
            call, found, RetireIdentity(identity_id=found["identity_id"], charger_id=found["charger_id"])
        )

    async def erase(self, call: Call, body: ErasePersonalDataBody) -> Answer:
        found = await self._own(call)
        command = ErasePersonalData(
            identity_id=found["identity_id"], charger_id=found["charger_id"], reason=body.reason
        )
        return await self._ask(call, found, command)

    # ------------------------------------------------------------ inside

    async def _ask(
        self, call: Call, found: Body, command: ChangeIdentity | RetireIdentity | ErasePersonalData
    ) -> Answer:
        home = found["charger_id"] if found["kind"] in AT_A_CHARGER else found["identity_id"]
        recorded = result_of(await self._commands.to_identity(call, home, command))
        return Answer(await self._shown_now(call, recorded))

    async def _find(self, call: Call) -> Body:
        found = await self._reader.identity(call.path["identity_id"])
        if found is None:
            raise Problem.unknown("identity", call.path["identity_id"])
        return found

    async def _own(self, call: Call) -> Body:
        found = await self._find(call)
        if found["kind"] == _CHARGER:
            message = f"it is the charger {found['charger_id']}, and changed under /api/v1/chargers"
            raise Problem(409, "identity-of-charger", message)
        return found

    async def _named(self, external_ids: Mapping[str, str]) -> tuple[str, ...]:
        """The ledger's names; what the personal ones stand for is sealed. Raises Problem, Unavailable."""
        found: list[tuple[str, str, str]] = []
        for scheme, text in external_ids.items():
            try:
                names = names_of(scheme, text, self._keys)
            except NoIdentifier as problem:
                raise Problem.of_field("external_ids", str(problem), "invalid-identifier") from None
            if not names:
                raise Problem(409, "no-pseudonym-key", "this process has no key to name personal data under")
            found.append((await self._known_or_new(names), scheme, text))
        for name, scheme, text in found:
            if is_personal(name):
                value = Disclosed(normalised(scheme, text).encode())
                await self._values.put(name, scheme, value, self._clock.now())
        return tuple(name for name, _, _ in found)

    async def _known_or_new(self, names: Sequence[str]) -> str:
        """Under several keys, the name it was given before."""
        known = await self._reader.external_ids_known(names) if len(names) > 1 else set()
        return next((name for name in names if name in known), names[0])

    def _sought(self, scheme: str, text: str) -> list[str]:
        try:
            return list(names_of(scheme, text, self._keys))
        except NoIdentifier as problem:
            raise Problem.of_field(scheme, str(problem), "invalid-identifier") from None

    def _every_name(self, text: str) -> list[str]:
        found: list[str] = []
        for scheme in EVERY_SCHEME:
            try:
                found += names_of(scheme, text, self._keys)
            except NoIdentifier:
                continue
        return found

    async def _shown_now(self, call: Call, recorded: Body) -> Body:
        """As read, for an EVSE stands where its charger stands; as recorded, while the projection is not there."""
        found = await self._reader.identity(recorded["identity_id"])
        return (await self._shown(call, [found or recorded]))[0]

    async def _shown(self, call: Call, rows: Sequence[Body]) -> list[Body]:
        personal = [name for row in rows for name in row["names"] if is_personal(name)]
        values = await self._values.open(personal) if personal else {}
        may_see = call.token is not None and call.token.role in SEE_MASKED
        return [_shown(row, values, may_see=may_see) for row in rows]


def _may_be_personal(text: str) -> bool:
    """Whether a text looks like a VIN or an EMAID, or is as long as a PCID without anything else in it."""
    return has_identifier(text) or _LIKE_PCID.fullmatch(text) is not None


def _shown(row: Body, values: Mapping[str, Disclosed], *, may_see: bool) -> Body:
    shown: dict[str, Any] = {name: part for name, part in row.items() if name not in ("names", "erased_at")}
    personal = [name for name in row["names"] if is_personal(name)]
    is_erased = row["erased_at"] is not None or any(name not in values for name in personal)
    shown["external_ids"] = {}
    for name in row["names"]:
        scheme, _, value = name.partition(":")
        if is_personal(name):
            is_shown = may_see and row["erased_at"] is None and name in values
            shown["external_ids"][scheme] = masked(scheme, values[name].value.decode()) if is_shown else None
        else:
            shown["external_ids"][scheme] = value
    shown["pseudonyms"] = {scheme_of(name): name for name in personal}
    shown["erased"] = is_erased
    return shown
