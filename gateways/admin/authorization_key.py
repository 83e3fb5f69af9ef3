"""AuthorizationKeys: a charger given another one, and the fleet's keys by what is wrong with them."""

from datetime import timedelta

import msgspec

from bfactors.authorization_key import SECRET_PURPOSE, VERSIONS, key_problem
from bfactors.command import RotateKey
from bfactors.disclosed import Disclosed
from bfactors.ports import Clock, SecretStore
from bfactors.secret import SecretName
from gateways.admin import field, shape
from gateways.admin.command import Commands, result_of
from gateways.admin.dependencies import AdminDependencies
from gateways.admin.idempotency import HEADER
from gateways.admin.problem import Problem
from gateways.admin.route import Answer, Call, Route
from gateways.admin.worn_key import refuse_worn_key

UNCLAIMED = timedelta(minutes=15)
"""How long a key that was given stays sealed for a command that may never be committed."""


class RotateKeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `key` one is made, and nobody is shown it."""

    key: field.AuthorizationKey | None = None
    reason: field.Reason = "asked for by an operator"


class AuthorizationKeys:
    """`/api/v1/chargers/{charger_id}/authorization-key` and `/api/v1/authorization-keys`."""

    def __init__(self, dependencies: AdminDependencies, commands: Commands) -> None:
        self._reader = dependencies.reader
        self._secrets: SecretStore = dependencies.secrets
        self._clock: Clock = dependencies.clock
        self._commands = commands

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/v1/chargers/{charger_id}/authorization-key",
                operation="authorization_keys.rotate",
                summary="Give a charger another AuthorizationKey; an open rotation is answered instead",
                description="Both keys are admitted until a session shows the new one. With a key of your own, a rotation "
                "that is open already is a conflict.",
                handler=self.rotate,
                body=RotateKeyBody,
                answer=shape.Job,
                status=202,
                conflicts=True,
                secret_fields=("key",),
            ),
        )

    async def rotate(self, call: Call, body: RotateKeyBody) -> Answer:
        charger_id = call.path["charger_id"]
        charger = await self._reader.charger(charger_id)
        if charger is None:
            raise Problem.unknown("charger", charger_id)
        job_id = call.repetition.new_id("job")
        await refuse_worn_key(self._reader, self._clock, job_id)
        if body.key is not None:
            _refuse_unfit(body.key, charger["ocpp_versions"])
            await self._seal(job_id, charger_id, body.key)
        command = RotateKey(
            job_id=job_id, charger_id=charger_id, reason=body.reason, is_given=body.key is not None
        )
        job = result_of(await self._commands.to_charger(call, charger_id, command))
        return Answer(job, 202, {"Location": f"/api/v1/jobs/{job['job_id']}"})

    async def _seal(self, job_id: str, charger_id: str, text: str) -> None:
        """A repeat of the request finds its key sealed; another key under the same Idempotency-Key is no repeat."""
        name = SecretName(secret_id=job_id, purpose=SECRET_PURPOSE, charger_id=charger_id)
        if await self._secrets.put(name, Disclosed(text.encode()), self._clock.now() + UNCLAIMED):
            return
        opened = await self._secrets.open(job_id)
        if opened is not None and opened.disclosed.value != text.encode():
            raise Problem.of_field(
                HEADER, "this Idempotency-Key was used with another request", "idempotency-key-reused"
            )


def _refuse_unfit(text: str, versions: list[str]) -> None:
    """A key must be one in every OCPP version the charger may speak."""
    for version in VERSIONS:
        problem = key_problem(text, version) if version in versions else None
        if problem is not None:
            raise Problem.of_field("key", f"{problem} (OCPP {version})", "unfit-key")
