"""Letting one charger in with its own expired certificate, for a while."""

from datetime import datetime

import msgspec

from bfactors.command import AdmitExpired
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.route import Answer, Call, Route


class ExpiredAdmissionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until when, at most 30 days ahead; null: no more."""

    until: field.Time | None
    reason: field.Reason


class ExpiredAdmissions:
    """`/api/v1/chargers/{charger_id}/expired-certificate-admission`."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/expired-certificate-admission",
                operation="chargers.admit_expired",
                summary="Let this charger in with its own expired certificate until then",
                description="It is Pending and renewed at once. This ends by itself with the date, or when the charger is "
                "seen with a new certificate.",
                handler=self.set,
                body=ExpiredAdmissionBody,
                answer=shape.Charger,
                conflicts=True,
                may_be_held=True,
            ),
        )

    async def set(self, call: Call, body: ExpiredAdmissionBody) -> Answer:
        charger_id = call.path["charger_id"]
        until: datetime | None = body.until
        command = AdmitExpired(charger_id=charger_id, until=until, reason=body.reason)
        return Answer(result_of(await self._commands.to_charger(call, charger_id, command)))
