"""The steps of a rollover that change whom is trusted: beginning it with a new CA, and retiring the one that is left."""

from bfactors.command import AdvanceRollover, StartRollover
from bfactors.fleet import rollover
from bfactors.fleet.approvable.kind import ApprovalKind
from bfactors.fleet.state import FleetFacts
from bfactors.policy import effective
from bfactors.x509 import parse_certificates

_Step = StartRollover | AdvanceRollover


def _is_privileged(command: _Step) -> bool:
    """The steps between make nothing trusted that was not, and nothing refused."""
    return isinstance(command, StartRollover) or command.step == rollover.STEPS[-1]


def _basis(facts: FleetFacts, command: _Step) -> str:
    """Of the first step: which certificate and root the id of the new CA stands for, and which CA issues now."""
    under_way = facts.rollovers.get(command.purpose)
    stand = "no rollover" if under_way is None else f"rollover {under_way.rollover_id} at {under_way.step}"
    if isinstance(command, AdvanceRollover):
        return stand
    to = rollover.side(facts, command.purpose, command.to_id)
    current = facts.authorities.get(command.purpose)
    if to is None or current is None:
        return f"no such CA, {stand}"
    roots = [anchor.fingerprint_sha256 for anchor in parse_certificates(to.root_pem)] if to.root_pem else []
    return (
        f"{to.arn} with certificate {to.fingerprint_sha256} under {', '.join(roots) or 'a known root'}, "
        f"{current.arn} current, {stand}"
    )


KIND = ApprovalKind(
    name="rollover",
    commands=(StartRollover, AdvanceRollover),
    subject=lambda command: str(command.purpose),
    policy=lambda facts, command: effective(facts.policies, purpose=command.purpose, family="", cohort=""),
    concerns=_is_privileged,
    basis=_basis,
    ageing=("hanging", "heard_sequence"),
    passing=frozenset({"gateway-does-not-verify-issuer", "not-heard-everywhere", "authority-in-use"}),
)
