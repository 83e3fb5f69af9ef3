"""What can happen to a charger's AuthorizationKey, as moves of a state machine: operators, the key desk, the charger."""

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from bfactors import command as c
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.charger import outgoing
from bfactors.effect import MintKey
from bfactors.instruction import InstructionOrder, WriteAuthorizationKey
from bfactors.ocpp import Answered, CallFailed, Outcome
from tests.core.charger_model import Model

INDEX = st.integers(0, 50)
TAKING = st.sampled_from(["forgets", "forgets", "keeps-both", "ignores", "dies-before-it-answers"])
"""What a charger does with a key it is told: takes it and forgets the old one, keeps both, ...; and what it then says."""


LATE_SWITCH = timedelta(hours=1)
"""How long after it was told a key a charger that kept both may drop the old one: less than any grace used here."""


class KeyMoves(RuleBasedStateMachine):
    """The charger's own truth is `model.keys_held`; answers tell only a part of it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.jobs = 0
        self.carried_out: set[tuple[str, int, str]] = set()
        self.taken: set[int] = set()
        self.may_switch_until = model.now

    def orders(self) -> list[InstructionOrder]:
        """What is ordered now; a charger's actor carries out one decision once on a session."""
        return [
            order
            for order in outgoing.orders(self.model.charger, self.model.facts, self.model.now)
            if (order.instruction_id, order.decision, order.session_id) not in self.carried_out
        ]

    def keys_admitted(self) -> list[int]:
        """The generations the charger can open a session with."""
        admitted = {key.generation for key in outgoing.admission(self.model.charger).keys}
        return sorted(self.model.keys_held & admitted)

    def would_lie(self, order: InstructionOrder, outcome: Outcome) -> bool:
        """A charger that took a key does not say, in answer to that very call, that it did not."""
        is_refusal = outcome in (CallFailed("NotSupported"), Answered("Rejected"))
        body = order.body
        return isinstance(body, WriteAuthorizationKey) and is_refusal and body.generation in self.taken

    def tell_a_key(self, order: InstructionOrder, generation: int, outcome: Outcome, taking: str) -> None:
        """One decision leaves once on a session. What a charger does with a key, it only partly says."""
        self.model.sent.append(order)
        key = (order.instruction_id, order.decision, order.session_id)
        self.carried_out.add(key)
        is_refusal = outcome in (CallFailed("NotSupported"), Answered("Rejected"))
        if taking != "ignores" and not is_refusal:
            self.model.keys_held = {generation} | (self.model.keys_held if taking == "keeps-both" else set())
            self.taken.add(generation)
            self.may_switch_until = self.model.now + LATE_SWITCH
        if taking == "dies-before-it-answers":
            return
        self.model.tell(
            v.InstructionAnswered(instruction_id=key[0], decision=key[1], session_id=key[2], outcome=outcome)
        )

    @precondition(lambda self: len(self.model.keys_held) > 1 and self.model.now < self.may_switch_until)
    @rule()
    def switch_late(self) -> None:
        self.model.keys_held = {max(self.model.keys_held)}
        self.model.check_keys()

    @rule(is_given=st.booleans())
    def rotate_the_key(self, is_given: bool) -> None:
        self.jobs += 1
        self.model.command(
            c.RotateKey(job_id=f"job-{self.jobs}", charger_id="CP-1", reason="test", is_given=is_given)
        )

    @precondition(lambda self: any(isinstance(x, MintKey) for x in self.model.effects.values()))
    @rule(which=INDEX, fine=st.booleans(), on_site=st.booleans())
    def mint_a_key(self, which: int, fine: bool, on_site: bool = False) -> None:
        """`on_site`: somebody carries it to a charger that has gone over to certificates and is to come back."""
        effects = [x for x in self.model.effects.values() if isinstance(x, MintKey)]
        effect = effects[which % len(effects)]
        about = {"job_id": effect.job_id, "generation": effect.generation}
        verifier = KeyVerifier(effect.generation, "p", f"{effect.generation:064x}", "pending")
        self.model.tell(
            v.KeyMinted(**about, keys=(verifier,))
            if fine
            else v.KeyNotMinted(**about, code="key-gone", message="gone")
        )
        if on_site and self.model.has_used_profile_3 and verifier in self.model.charger.keys:
            self.model.keys_held |= {effect.generation}
