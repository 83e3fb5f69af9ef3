"""A charger on profile 2 whose AuthorizationKey is being rotated, and what it and the key desk may answer."""

from bfactors import command as c
from bfactors import evidence as v
from bfactors.admission import KeyVerifier
from bfactors.charger import outgoing
from bfactors.charger.decide import Decision
from bfactors.charger.pending_key import ROTATE_KEY, PendingKey
from bfactors.charger.state import JobState
from bfactors.effect import MintKey
from bfactors.fleet.state import FleetFacts
from bfactors.instruction import WriteAuthorizationKey
from bfactors.ocpp import Answered, Outcome
from bfactors.policy import PolicyOverride, PolicySet
from tests.core.world import World, fleet_facts


def verifier(generation: int, state: str = "active") -> KeyVerifier:
    return KeyVerifier(
        generation, "pepper", f"{generation:02x}" * 32, "active" if state == "active" else "pending"
    )


def with_policy(**values: object) -> FleetFacts:
    override = PolicyOverride(scope="purpose:charging_station", values=values)
    facts = fleet_facts()
    return type(facts)(
        **{
            **{name: getattr(facts, name) for name in facts.__struct_fields__},
            "policies": PolicySet(version=2, overrides=(override,)),
        }
    )


class KeyWorld(World):
    """Profile 2 for good, with a key of generation 1, unless said otherwise."""

    def __init__(self, facts: FleetFacts | None = None, **registration: object) -> None:
        values: dict[str, object] = {
            "target_security_profile": 2,
            "key": verifier(1),
            "key_origin": "generated",
            **registration,
        }
        super().__init__(facts, **values)

    def rotate(self, job_id: str = "rotation-1", *, is_given: bool = False) -> Decision:
        return self.command(c.RotateKey(job_id=job_id, charger_id="CP-1", reason="test", is_given=is_given))

    def mint_effects(self) -> list[MintKey]:
        return [e for e in outgoing.effects(self.charger, self.facts) if isinstance(e, MintKey)]

    def mint(self, weakness: str | None = None) -> None:
        """What the key desk does."""
        [effect] = self.mint_effects()
        self.tell(
            v.KeyMinted(
                job_id=effect.job_id,
                generation=effect.generation,
                keys=(verifier(effect.generation, "pending"),),
                weakness=weakness,
            )
        )

    def told(self, outcome: Outcome | None = None) -> WriteAuthorizationKey:
        """The charger is told, and answers (Accepted unless said otherwise)."""
        body = self.carry_out(outcome or Answered("Accepted"))
        assert isinstance(body, WriteAuthorizationKey)
        return body

    def to_accepted(self) -> str:
        """A rotation whose key the charger has taken, on a session opened with the old one."""
        session_id = self.connect(key=1)
        self.rotate()
        self.mint()
        self.told()
        return session_id

    @property
    def rotation(self) -> JobState:
        return next(job for job in self.jobs.values() if job.action == ROTATE_KEY)

    @property
    def pending(self) -> PendingKey:
        [key] = self.charger.pending_keys
        return key

    def admitted(self) -> dict[int, str]:
        """The state of every generation the charger may open a session with."""
        return {key.generation: key.state for key in outgoing.admission(self.charger).keys}
