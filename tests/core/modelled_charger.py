"""A charger that behaves as OCPP asks, with bad luck on demand: what it holds, what it answers, how it comes back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from bfactors import evidence as v
from bfactors.certificate_hash import ReportedCertificate
from bfactors.charger import clock, outgoing
from bfactors.charger.state import JobState
from bfactors.effect import IssueCertificate
from bfactors.identity_rule import credential_problem
from bfactors.instruction import (
    CloseSession,
    InstallLeaf,
    InstructionOrder,
    ListCertificates,
    ObtainCsr,
    Reboot,
    SetProfilePriority,
    is_repeatable,
)
from bfactors.ocpp import Answered, Disconnected, Outcome, Silent
from bfactors.x509 import parse_certificates, parse_csr
from tests.core import pki
from tests.core.world import World

Luck = Literal["fine", "answer-lost", "call-lost", "silent", "drops", "drops-and-asks-again"]
"""What befalls one exchange: the answer is lost with the connection, or the call; nobody answers; the socket ends after it."""


@dataclass(slots=True)
class ModelledCharger:
    """One charger against the ledger's decisions; `luck` is used up one an exchange, then all goes well."""

    world: World
    luck: list[Luck]
    late: timedelta = timedelta(seconds=1)
    eager: bool = False
    """It sends its CSR before it hears what else is wanted: one that was left over meets the next trigger."""
    pending: str | None = None
    unsent: bool = False
    credential: str | None = None
    renewed: str | None = None
    profile: int = 2
    may_switch: bool = False
    refused: int = 0

    # ------------------------------------------------------------ its life

    def live(self, within: timedelta) -> JobState | None:
        """Live until no job is open; the open one if time is up, else None."""
        world = self.world
        until = world.now + within
        while world.charger.jobs and world.now <= until:
            self._step()
        return next(iter(world.charger.jobs.values()), None)

    def _step(self) -> None:
        world = self.world
        if world.charger.session is None:
            self._come_back()
        elif self.eager and self.unsent and self.pending is not None:
            self.unsent = False
            world.present_csr(self.pending)
        elif orders := outgoing.orders(world.charger, world.facts, world.now):
            self._hear(orders[0])
        elif self.unsent and self.pending is not None:
            self.unsent = False
            world.present_csr(self.pending)
        elif any(isinstance(x, IssueCertificate) for x in outgoing.effects(world.charger, world.facts)):
            world.ca_issues()
        else:
            due = clock.next_due(world.charger, world.facts, world.now)
            assert due is not None, "nobody moves and nothing is due"
            world.now = max(world.now, due)
            world.tell(v.DeadlinePassed(at=world.now))

    def _come_back(self) -> None:
        """With the best it has that is let in: the new leaf, then the old, then the password."""
        world = self.world
        world.now += self.late
        record = outgoing.admission(world.charger)
        admitted = {
            known.fingerprint_sha256
            for known in record.credentials
            if credential_problem(known, world.now) is None
        }
        if 3 in record.allowed_profiles and (self.profile == 3 or self.may_switch):
            for leaf in (self.renewed, self.credential):
                if leaf is not None and leaf in admitted:
                    self._opened(leaf)
                    return
        assert 2 in record.allowed_profiles, "locked out"
        world.connect(2)

    def _opened(self, leaf: str) -> None:
        if leaf == self.renewed:
            self.credential, self.renewed = leaf, None
        self.profile = 3
        self.world.connect(3, leaf)

    def _gone(self) -> None:
        session = self.world.charger.session
        if session is not None:
            self.world.tell(v.SessionClosed(session_id=session.session_id, reason="gone"))

    # ------------------------------------------------------------ what it is asked

    def _hear(self, order: InstructionOrder) -> None:
        luck: Luck = self.luck.pop(0) if self.luck else "fine"
        if not is_repeatable(order.body):
            self.world.tell(
                v.InstructionSent(
                    instruction_id=order.instruction_id, decision=order.decision, session_id=order.session_id
                )
            )
        goes = False
        outcome: Outcome
        if luck == "call-lost":
            outcome = Disconnected()
        else:
            outcome, goes = self._act(order)
            if luck == "answer-lost":
                outcome = Disconnected()
            elif luck == "silent":
                outcome = Silent()
        self.world.tell(
            v.InstructionAnswered(
                instruction_id=order.instruction_id,
                decision=order.decision,
                session_id=order.session_id,
                outcome=outcome,
            )
        )
        if luck == "drops-and-asks-again":
            self.unsent = self.pending is not None  # it had no answer to its SignCertificate
        if goes or luck not in ("fine", "silent"):
            self._gone()

    def _act(self, order: InstructionOrder) -> tuple[Outcome, bool]:
        """Its answer, and whether it leaves the connection by itself."""
        match order.body:
            case ObtainCsr():
                self.pending, self.unsent = pki.csr("SN-1"), True
                return Answered("Accepted"), False
            case InstallLeaf(chain_pem=chain_pem):
                return self._take(chain_pem)
            case ListCertificates():
                anchors = self.world.facts.bundles["backend_server"].anchors
                listed = tuple(ReportedCertificate("CSMSRootCertificate", a.hash_data[0]) for a in anchors)
                return Answered("Accepted", listed=listed), False
            case SetProfilePriority():
                self.may_switch = True
                return Answered("Accepted"), False
            case Reboot() | CloseSession():
                return Answered("Accepted"), True
            case _:
                return Answered("Accepted"), False

    def _take(self, chain_pem: str) -> tuple[Outcome, bool]:
        """Only a leaf for the key it asked for last; it forgets that key when it has taken one (A02.FR.07)."""
        leaf = parse_certificates(chain_pem)[0]
        if self.pending is None or parse_csr(self.pending).spki_sha256 != leaf.spki_sha256:
            self.refused += 1
            return Answered("Rejected", reason_code="InvalidCertificate"), False
        self.pending, self.unsent = None, False
        self.renewed = leaf.fingerprint_sha256
        return Answered("Accepted"), self.profile == 3
