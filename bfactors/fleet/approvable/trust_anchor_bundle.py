"""A new version of a purpose's trust anchors."""

from bfactors.command import CreateTrustAnchorBundle
from bfactors.fleet.approvable.kind import ApprovalKind
from bfactors.fleet.state import FleetFacts
from bfactors.policy import effective


def _basis(facts: FleetFacts, command: CreateTrustAnchorBundle) -> str:
    bundle = facts.bundles.get(command.purpose)
    return "no bundle" if bundle is None else f"bundle {bundle.bundle_id} version {bundle.version}"


KIND = ApprovalKind(
    name="trust-anchor-bundle",
    commands=(CreateTrustAnchorBundle,),
    subject=lambda command: str(command.purpose),
    policy=lambda facts, command: effective(facts.policies, purpose=command.purpose, family="", cohort=""),
    basis=_basis,
)
