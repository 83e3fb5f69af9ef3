"""A decision in the making: events are recorded and folded at once, so later rules see what earlier ones decided."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from bfactors import event as e
from bfactors.charger.evolve import evolve
from bfactors.charger.own_policy import policy_of
from bfactors.charger.state import ChargerState, InstructionState, JobState
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import OperationalKind, kind_name
from bfactors.ocpp import Answered, CallFailed
from bfactors.policy import Policy


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision may know besides state and message. Everything in it is a value.

    `key_owners` maps the SPKI digests the message mentions to the identity that first showed them; `serial_owner` is the
    live charger with the serial number a registration asks for; `ocpp_url` is where chargers reach this system.
    """

    now: datetime
    cause: str
    actor: str
    facts: FleetFacts
    ocpp_url: str
    key_owners: Mapping[str, str] = {}
    serial_owner: str | None = None
    recalled: tuple[e.CertificateRecalled, ...] = ()
    """Older certificates of the charger that this message, or an incident, is about."""


class Draft:
    """Accumulates the events of one decision about one charger."""

    __slots__ = ("_policies", "before", "context", "events", "jobs_touched", "now", "state")

    def __init__(
        self, state: ChargerState, context: Context, events: list[e.ChargerEvent] | None = None
    ) -> None:
        self.state = state
        self.before = state
        self.context = context
        self.now = context.now
        self.events: list[e.ChargerEvent] = events if events is not None else []
        self.jobs_touched: dict[str, JobState] = {}
        self._policies: dict[tuple[str, str, bool], Policy] = {}

    def record(self, event: e.ChargerEvent) -> None:
        """Append an event and fold it."""
        job_id: str | None = getattr(event, "job_id", None)
        before = self.state.jobs.get(job_id) if job_id else None
        self.state = evolve(self.state, event, self.now)
        self.events.append(event)
        if job_id:
            after = self.state.jobs.get(job_id)
            if after is not None:
                self.jobs_touched[job_id] = after
            elif before is not None:
                self.jobs_touched[job_id] = _ended(before, event)

    def policy(self, purpose: str) -> Policy:
        """The effective policy of this charger for a purpose."""
        key = (purpose, self.state.cohort, self.state.capabilities.cannot_list)
        policy = self._policies.get(key)
        if policy is None:
            policy = self._policies[key] = policy_of(self.state, self.context.facts, purpose, self.now)
        return policy

    def derived_id(self, *parts: str) -> str:
        """An id that the same message always leads to."""
        return hashlib.sha256(
            "\x1f".join((self.context.cause, self.state.charger_id, *parts)).encode()
        ).hexdigest()[:32]

    # ------------------------------------------------------------ jobs

    def stage(
        self,
        job: JobState,
        stage: str,
        *,
        waiting_for: str | None = None,
        held_by: str | None = None,
        reason: tuple[str, str] | None = None,
        due_at: datetime | None = None,
        failed: bool = False,
    ) -> None:
        """Say where a job stands; recorded only if that is news. A running deadline of the same stage is kept."""
        code, message = reason if reason is not None else (None, None)
        if job.overdue and stage == job.stage and reason is None and not failed:
            code, message = job.reason_code, job.reason_message  # it stays late, and keeps saying why
        same_place = (job.stage, job.waiting_for, job.held_by) == (stage, waiting_for, held_by)
        same_reason = (job.reason_code, job.reason_message) == (code, message)
        if same_place and not failed:
            if job.overdue and same_reason:
                return
            if same_reason and job.due_at == due_at:
                return
        self.record(
            e.CertificateJobStageChanged(
                job_id=job.job_id,
                stage=stage,
                waiting_for=waiting_for,
                held_by=held_by,
                reason_code=code,
                reason_message=message,
                due_at=due_at,
                failed=failed,
            )
        )

    def retry(self, job: JobState, code: str, message: str) -> None:
        """The present step did not work: count it, remember why, and let the plan start the step again."""
        self.stage(job, "requested", reason=(code, message), failed=True)

    def fail(self, job: JobState, code: str, message: str) -> None:
        """End a job without its certificate; what it still wanted done is withdrawn."""
        self.withdraw_instructions(job.job_id)
        self.record(e.CertificateJobFailed(job_id=job.job_id, reason_code=code, reason_message=message))

    def withdraw_instructions(self, job_id: str) -> None:
        """Nothing of this job is wanted on the charger any more."""
        for instruction in list(self.state.instructions.values()):
            if instruction.job_id == job_id:
                self.settle(instruction, "withdrawn", None)

    # ------------------------------------------------------------ instructions

    def open_instruction(
        self, job: JobState, body: OperationalKind, *, delay: timedelta | None = None
    ) -> None:
        """Want something done for a job, unless the same is outstanding already; after a failure, with back-off.

        Only the step that failed backs off (its job is `requested` again): those that follow it have failed nobody.

        Every opening has an id of its own: a charger's actor carries out one decision of an id once per session.
        """
        if any(i.job_id == job.job_id and i.body == body for i in self.state.instructions.values()):
            return
        instruction_id = hashlib.sha256(
            "\x1f".join(
                (self.state.charger_id, job.job_id, kind_name(body), str(self.state.revision))
            ).encode()
        ).hexdigest()[:32]
        if delay is None:
            delay = back_off(job.failures) if job.stage == "requested" else timedelta(0)
        self.record(
            e.InstructionOpened(
                charger_id=self.state.charger_id,
                instruction_id=instruction_id,
                job_id=job.job_id,
                decision=1,
                body=body,
                not_before=self.now + delay,
            )
        )

    def repeat_instruction(self, instruction: InstructionState, *, delay: timedelta = timedelta(0)) -> None:
        """Decide anew that an outstanding instruction is to be carried out."""
        self.record(
            e.InstructionOpened(
                charger_id=self.state.charger_id,
                instruction_id=instruction.instruction_id,
                job_id=instruction.job_id,
                decision=instruction.decision + 1,
                body=instruction.body,
                not_before=self.now + delay,
            )
        )

    def settle(self, instruction: InstructionState, outcome: str, detail: str | None) -> None:
        """Evidence (or a decision) settled an outstanding instruction."""
        self.record(
            e.InstructionSettled(
                charger_id=self.state.charger_id,
                instruction_id=instruction.instruction_id,
                job_id=instruction.job_id,
                kind=kind_name(instruction.body),
                outcome=outcome,
                detail=detail,
                evidence_ref=self.context.cause,
            )
        )

    def outstanding(self, job_id: str, kind: type) -> InstructionState | None:
        """The outstanding instruction of that kind for a job."""
        for instruction in self.state.instructions.values():
            if instruction.job_id == job_id and isinstance(instruction.body, kind):
                return instruction
        return None


def described(outcome: Answered | CallFailed) -> str:
    """How a charger said no, in its own words, as short as a person needs."""
    if isinstance(outcome, CallFailed):
        return f"{outcome.code} {outcome.description}".strip()[:200]
    parts = [outcome.status, outcome.reason_code or "", outcome.detail or ""]
    return " ".join(part for part in parts if part)[:200]


def back_off(failures: int) -> timedelta:
    """How long to wait before another try: none at first, then 5 s doubling up to 10 minutes."""
    return timedelta(seconds=min(5 * 2 ** (failures - 1), 600) if failures else 0)


def _ended(job: JobState, event: e.ChargerEvent) -> JobState:
    """The last form of a job that an event has just ended, for its projection."""
    replace = msgspec.structs.replace
    ended = replace(job, waiting_for=None, held_by=None, due_at=None, stage="done", overdue=False)
    match event:
        case e.CertificateJobSucceeded():
            certificate_id = event.certificate_id or job.certificate_id
            return replace(
                ended, state="succeeded", certificate_id=certificate_id, reason_code=None, reason_message=None
            )
        case e.CertificateJobFailed():
            return replace(
                ended, state="failed", reason_code=event.reason_code, reason_message=event.reason_message
            )
        case e.CertificateJobCancelled():
            return replace(ended, state="cancelled", reason_code="cancelled", reason_message=event.reason)
        case _:
            return job
