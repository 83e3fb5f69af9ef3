"""A renewed leaf was taken; then come reconnects, silence, resets, other keys, in any order: what must hold all the while."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.effect import IssueCertificate
from bfactors.identity_rule import credential_problem
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.policy import PolicyOverride, PolicySet
from tests.core.charger_model import Model

OUTCOMES: dict[str, Outcome] = {
    "accepted": Answered("Accepted"),
    "rejected": Answered("Rejected"),
    "call-error": CallFailed("InternalError"),
    "silent": Silent(),
    "disconnected": Disconnected(),
}
MOVES = (
    "old",
    "old",
    "new",
    "gone",
    "minute",
    "minute",
    "hours",
    "day",
    "says-discarded",
    "operator-resets",
    "csr",
    "csr",
    "ca",
    "ca",
    "nothing",
)
THEN = st.sampled_from(["accepted", "accepted", "accepted", "left-unsent", *OUTCOMES])
"""How what is ordered by then ends."""
WAITS = {"minute": timedelta(seconds=61), "hours": timedelta(hours=3), "day": timedelta(days=1)}
POLICIES = st.fixed_dictionaries(
    {
        "reconnect_close_s": st.sampled_from([0, 60]),
        "reconnect_reset_s": st.sampled_from([0, 60]),
        "discarded_reconnects": st.sampled_from([0, 1, 3]),
        "discarded_after_s": st.sampled_from([0, 7200]),
    }
)


class Renewing(Model):
    """A charger with a leaf in use that has just taken its next one."""

    def __init__(self, policy: dict[str, object]) -> None:
        super().__init__()
        override = PolicyOverride(scope="purpose:charging_station", values=policy)
        self.facts = replace(self.facts, policies=PolicySet(version=2, overrides=(override,)))
        self.old = self.to_active().fingerprint_sha256
        self.request("renew", job_id="renewal")
        self.carry_out()
        self.present_csr()
        self.ca_issues()
        self.carry_out()

    def move(self, move: str) -> None:
        match move:
            case "old" | "new":
                self._come_back(move)
            case "gone":
                if (session := self.charger.session) is not None:
                    self.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))
            case "minute" | "hours" | "day":
                self.advance(WAITS[move])
            case "says-discarded":
                self._say_discarded()
            case "operator-resets":
                if self.charger.session is not None:
                    call = c.CallCharger(
                        call_id=f"call-{len(self.events)}",
                        charger_id="CP-1",
                        action="Reset",
                        payload='{"type":"OnIdle"}',
                    )
                    self.command(call)
            case "csr":
                if self.charger.session is not None:
                    self.present_csr()
            case "ca":
                if any(isinstance(x, IssueCertificate) for x in outgoing.effects(self.charger, self.facts)):
                    self.ca_issues()
            case _:
                pass

    def _come_back(self, which: str) -> None:
        """With the one in use, or with the newest the charger was given."""
        held = [
            known
            for known in outgoing.admission(self.charger).credentials
            if credential_problem(known, self.now) is None
            and self.charger.certificates[known.certificate_id].installed_at is not None
        ]
        assert held, "locked out"
        fingerprint = held[-1].fingerprint_sha256
        if which == "old":
            fingerprint = next(k.fingerprint_sha256 for k in held if k.state == "active")
        self.connect(3, fingerprint)

    def _say_discarded(self) -> None:
        if (session := self.charger.session) is not None:
            self.tell(
                v.SecurityEventReported(
                    session_id=session.session_id,
                    event_type="DiscardedRenewedClientCertificate",
                    charger_time="then",
                )
            )

    def orders_end(self, how: str) -> None:
        if how in OUTCOMES:
            self._carry_out_all(OUTCOMES[how])

    def _carry_out_all(self, outcome: Outcome) -> None:
        for _ in range(3):
            orders = outgoing.orders(self.charger, self.facts, self.now)
            if not orders:
                return
            self.note_reset(orders[0], outcome)
            self.carry_out(outcome)
            if isinstance(outcome, Disconnected):
                self.move("gone")
                return

    def finish(self) -> None:
        """From here on the charger does all it should; then every job ends and nothing is outstanding."""
        for _ in range(200):
            if not self.charger.jobs and not self.charger.instructions:
                return
            if self.charger.session is None:
                self._come_back("new")
            elif outgoing.orders(self.charger, self.facts, self.now):
                self._carry_out_all(Answered("Accepted"))
            elif any(isinstance(x, IssueCertificate) for x in outgoing.effects(self.charger, self.facts)):
                self.ca_issues()
            elif any(job.stage == "awaiting-csr" for job in self.charger.jobs.values()):
                self.present_csr()
            elif any(job.stage == "awaiting-reconnect" for job in self.charger.jobs.values()):
                self._come_back("new")
            else:
                self.advance(timedelta(minutes=10))
        raise AssertionError(f"it does not end: {self.charger.jobs} {self.charger.instructions}")


@settings(max_examples=100, deadline=None, database=None)
@given(policy=POLICIES, moves=st.lists(st.tuples(st.sampled_from(MOVES), THEN), max_size=20))
def test_no_order_of_reconnects_resets_and_keys_loses_the_live_leaf_or_leaves_anything_unsettled(
    policy: dict[str, object], moves: list[tuple[str, str]]
) -> None:
    model = Renewing(policy)
    for move, how in moves:
        model.move(move)
        model.orders_end(how)
        slot = model.charger.slots["charging_station/default"]
        assert slot.current is not None, "a live leaf is never lost"
        assert len([k for k in model.charger.certificates.values() if k.state == "active"]) == 1
    model.finish()
    model.check_replay()
