"""A charger that stays on profile 2, its key rotated again and again under any interleaving: it is never locked out."""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.instruction import WriteAuthorizationKey, is_repeatable
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.policy import PolicyOverride, PolicySet
from tests.core.charger_model import Model
from tests.core.key_moves import INDEX, TAKING, KeyMoves

OUTCOMES = st.sampled_from(
    [
        *(Answered("Accepted"), Answered("Accepted"), Answered("RebootRequired"), Answered("Rejected")),
        *(CallFailed("InternalError"), CallFailed("NotSupported"), Silent(), Disconnected()),
    ]
)
DURATIONS = st.sampled_from(
    [
        timedelta(seconds=10),
        timedelta(minutes=6),
        timedelta(minutes=20),
        timedelta(days=2),
        timedelta(days=40),
    ]
)


class KeyMachine(KeyMoves):
    def __init__(self) -> None:
        super().__init__(Model(target_security_profile=2))

    @rule(which=INDEX)
    def connect(self, which: int) -> None:
        keys = self.keys_admitted()
        self.model.connect(2, key=keys[which % len(keys)])

    @rule(outcome=OUTCOMES, taking=TAKING, then=st.sampled_from(["nothing", "gone", "cancelled", "both"]))
    def go_through_a_rotation(self, outcome: Outcome, taking: str, then: str) -> None:
        """The usual way in one move, as far as it goes: else the long ways are hardly walked."""
        if self.model.charger.session is None:
            self.connect(0)
        if not self.model.charger.jobs:
            self.rotate_the_key(False)
            self.mint_a_key(-1, True)
        if self.orders():
            self.carry_out_an_order(outcome, taking)
        if then in ("cancelled", "both"):
            self.cancel_a_job(True)
        if then in ("gone", "both"):
            self.lose_the_session()

    @rule()
    def lose_the_session(self) -> None:
        session = self.model.charger.session
        if session is not None:
            self.model.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))

    @precondition(lambda self: self.orders())
    @rule(outcome=OUTCOMES, taking=TAKING)
    def carry_out_an_order(self, outcome: Outcome, taking: str) -> None:
        order = self.orders()[0]
        if isinstance(order.body, WriteAuthorizationKey):
            self.tell_a_key(order, order.body.generation, outcome, taking)
            return
        about = {
            "instruction_id": order.instruction_id,
            "decision": order.decision,
            "session_id": order.session_id,
        }
        if not is_repeatable(order.body):
            self.model.tell(v.InstructionSent(**about))  # type: ignore[arg-type]
        self.model.tell(v.InstructionAnswered(outcome=outcome, **about))  # type: ignore[arg-type]

    @precondition(lambda self: self.model.sent)
    @rule(which=INDEX, outcome=OUTCOMES)
    def answer_late_or_twice(self, which: int, outcome: Outcome) -> None:
        order = self.model.sent[which % len(self.model.sent)]
        if not self.would_lie(order, outcome):
            self.model.tell(
                v.InstructionAnswered(
                    instruction_id=order.instruction_id,
                    decision=order.decision,
                    session_id=order.session_id,
                    outcome=outcome,
                )
            )

    @rule(really=st.booleans())
    def cancel_a_job(self, really: bool) -> None:
        if really and self.model.charger.jobs:
            job_id = next(iter(self.model.charger.jobs))
            self.model.command(c.CancelJob(charger_id="CP-1", job_id=job_id, reason="enough"))

    @rule(duration=DURATIONS)
    def time_passes(self, duration: timedelta) -> None:
        self.model.advance(duration)

    @rule(days=st.sampled_from([1, 30]))
    def change_the_policy(self, days: int) -> None:
        values = {"key_doubt_days": days, "max_attempts": 2}
        override = PolicyOverride(scope="purpose:charging_station", values=values)
        version = self.model.facts.policies.version + 1
        self.model.facts = replace(
            self.model.facts, policies=PolicySet(version=version, overrides=(override,))
        )
        self.model.tell(v.DeadlinePassed(at=self.model.now))

    def teardown(self) -> None:
        self.model.check_replay()


TestKeyMachine = KeyMachine.TestCase
TestKeyMachine.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
