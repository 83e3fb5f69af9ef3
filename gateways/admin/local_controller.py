"""Local controllers: who may speak for a charger."""

from typing import Annotated

import msgspec

from bfactors.admission import Speaker
from bfactors.charger.spokesman import SPEAKERS_MAX
from bfactors.command import SetSpokenFor
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.route import Answer, Call, Route


class ControllerBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A local controller by its client certificate; name both certificates while it is being renewed."""

    controller_id: field.Name
    fingerprint_sha256: field.Fingerprint


class SpokenForBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Replaces what was said before; an empty list: nobody."""

    controllers: Annotated[list[ControllerBody], msgspec.Meta(max_length=SPEAKERS_MAX)]
    reason: field.Reason


class LocalControllers:
    """`/api/v1/chargers/{charger_id}/spoken-for-by`."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="PUT",
                path="/api/v1/chargers/{charger_id}/spoken-for-by",
                operation="chargers.set_spoken_for",
                summary="Say which local controllers may open this charger's session",
                description="A controller presents its own client certificate, of a CA that chargers are verified with. What "
                "such a session shows proves nothing about the charger's own certificate.",
                handler=self.set,
                body=SpokenForBody,
                answer=shape.Charger,
                conflicts=True,
            ),
        )

    async def set(self, call: Call, body: SpokenForBody) -> Answer:
        charger_id = call.path["charger_id"]
        speakers = tuple(
            Speaker(one.controller_id, one.fingerprint_sha256.lower()) for one in body.controllers
        )
        command = SetSpokenFor(charger_id=charger_id, speakers=speakers, reason=body.reason)
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))
