"""A fleet's partition and a few chargers, each as far behind the fleet's decisions as the test wants."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from bfactors import command as c
from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.charger.state import CertificateRecord
from bfactors.effect import StartRenewal
from bfactors.fleet import decide as fleet
from bfactors.fleet import rollover
from bfactors.fleet.control import client_trust, read_client_trust
from bfactors.fleet.state import FleetState
from bfactors.instruction import ListCertificates, ObtainCsr
from bfactors.x509 import fingerprint_sha256, split_chain
from tests.core import pki
from tests.core.world import ARN, CA_NAMES, NEXT_ARN, World, evidence

P = "charging_station"


def described(arn: str) -> c.RegisterAuthority:
    made = pki.ca(CA_NAMES[arn])
    return c.RegisterAuthority(
        purpose=P,
        authority_arn=arn,
        certificate_pem=made.pem,
        chain_pem="",
        signing_algorithm="SHA256WITHECDSA",
        root_pem=made.root_pem,
    )


class RollingFleet:
    """The first CA is current, one gateway verifies it, and its bundle is made."""

    def __init__(self) -> None:
        self.state = FleetState()
        self.now = pki.BEGIN + timedelta(days=10)
        self.events: list[Any] = []
        self.chargers: list[World] = []
        self.started = 0
        self.do(described(ARN))
        roots = (pki.ca().root_pem, pki.ca("Server").root_pem)
        self.do(c.CreateTrustAnchorBundle(bundle_id="bundle-1", purpose="backend_server", anchors_pem=roots))
        self.verifies()

    # ------------------------------------------------------------ the fleet's partition

    def do(self, command: fleet.FleetCommand, actor: str = "operator:ada") -> fleet.FleetDecision:
        return self._take(fleet.decide_command(self.state, command, actor, self.now))

    def agree(self, held: fleet.FleetDecision, **afresh: int) -> fleet.FleetDecision:
        """A second person's word, with what the projections say then."""
        assert held.is_held
        shown = held.result
        word = c.DecideFleetApproval(
            approval_id=shown["approval_id"],
            verdict="approve",
            content_hash=shown["content_hash"],
            reason="read it",
            afresh=afresh,
        )
        return self.do(word, "operator:ben")

    def tell(self, body: v.EvidenceBody) -> fleet.FleetDecision:
        return self._take(fleet.decide_evidence(self.state, evidence("", body, self.now), self.now))

    def _take(self, decision: fleet.FleetDecision) -> fleet.FleetDecision:
        self.state = decision.state
        self.events += decision.events
        if fleet.changes_facts(decision.events):
            self.state = fleet.with_sequence(self.state, self.state.facts.sequence + 1)
        return decision

    def verifies(self, *pems: str) -> None:
        """The gateway tells what it verifies; without `pems`, all that it was told to."""
        told = pems or self.trusted
        prints = tuple(fingerprint_sha256(split_chain(pem)[0]) for pem in told)
        self.tell(v.NodeTrustReported(node="n1", incarnation="i1", fingerprints=prints))

    @property
    def trusted(self) -> tuple[str, ...]:
        return read_client_trust(client_trust(self.state.facts))

    def id_of(self, arn: str) -> str:
        known = self.state.facts.authority_of(P, arn)
        assert known is not None
        return known.authority_id

    def start(self, to: str = NEXT_ARN, **values: Any) -> str | None:
        self.started += 1
        command = c.StartRollover(
            **{"rollover_id": f"r{self.started}", "purpose": P, "to_id": self.id_of(to), "reason": "x"}
            | values
        )
        decision = self.do(command)
        if decision.is_held:
            decision = self.agree(decision)
        return None if decision.refusal is None else decision.refusal.code

    def advance(self, **values: Any) -> str | None:
        """One step on, with what the projections would say; the refusal's code."""
        under_way = self.state.facts.rollovers.get(P)
        arn = under_way.leaving_arn if under_way is not None else ""
        command = c.AdvanceRollover(
            **{
                "purpose": P,
                "step": under_way.step if under_way is not None else "gateways",
                "reason": "x",
                "hanging": self.hanging(arn),
                "heard_sequence": min(
                    (each.facts.sequence for each in self.chargers), default=self.state.facts.sequence
                ),
            }
            | values
        )
        decision = self.do(command)
        if decision.is_held:
            decision = self.agree(decision, hanging=command.hanging, heard_sequence=command.heard_sequence)
        return None if decision.refusal is None else decision.refusal.code

    def abort(self) -> str | None:
        refusal = self.do(c.AbortRollover(purpose=P, reason="x")).refusal
        return None if refusal is None else refusal.code

    def to_step(self, step: str) -> None:
        """Start a rollover to the next CA and bring it to this step, everybody hearing of each."""
        self.do(described(NEXT_ARN))
        assert self.start() is None
        while self.state.facts.rollovers[P].step != step:
            self.verifies()
            assert self.advance() is None
            self.everybody_hears()

    # ------------------------------------------------------------ chargers

    def add(self) -> World:
        """A charger that uses a certificate of the first CA."""
        world = World(self.state.facts)
        world.now = self.now
        world.to_active()
        self.chargers.append(world)
        return world

    def hears(self, world: World) -> None:
        world.now = self.now
        world.facts = self.state.facts
        world.tell(v.DeadlinePassed(at=self.now))

    def everybody_hears(self) -> None:
        for world in self.chargers:
            self.hears(world)

    def work(self, world: World) -> bool:
        """Whatever is next for this charger, by it or for it; False: nothing is."""
        world.now = max(world.now, self.now)
        effects = outgoing.effects(world.charger, world.facts)
        renewal = next((each for each in effects if isinstance(each, StartRenewal)), None)
        if renewal is not None:
            world.request("renew", certificate_id=renewal.certificate_id, due_reason=renewal.due_reason)
            return True
        if any(job.attempt is not None for job in world.charger.jobs.values()):
            world.ca_issues()
            return True
        if world.charger.session is None:
            return False
        orders = world.orders()
        if orders:
            if isinstance(orders[0], ListCertificates):
                world.list_all_anchors()
            else:
                world.carry_out()
            if isinstance(orders[0], ObtainCsr):
                world.present_csr()
            return True
        return self._reconnects(world)

    def _reconnects(self, world: World) -> bool:
        taken = [each for each in world.charger.certificates.values() if each.state == "installed"]
        if taken:
            world.connect(3, taken[0].fingerprint_sha256)
        return bool(taken)

    def finish(self, world: World) -> None:
        for _ in range(40):
            if not self.work(world):
                return
        raise AssertionError("it never comes to rest")

    # ------------------------------------------------------------ what the projections would say

    def hanging(self, arn: str) -> int:
        certificates = [
            each for world in self.chargers for each in self.live(world) if each.issuing_ca_id == arn
        ]
        orders = [
            job
            for world in self.chargers
            for job in world.charger.jobs.values()
            if job.attempt is not None and job.attempt.authority_arn == arn
        ]
        return len(certificates) + len(orders)

    def live(self, world: World) -> Iterable[CertificateRecord]:
        """What may open a session of this charger now, or is about to."""
        for each in world.charger.certificates.values():
            in_grace = (
                each.state == "superseded" and each.admit_until is not None and each.admit_until > self.now
            )
            if each.not_after > self.now and (each.state in ("issued", "installed", "active") or in_grace):
                yield each


__all__ = ["ARN", "NEXT_ARN", "P", "RollingFleet", "described", "rollover"]
