"""What the demo must have shown, each as a claim with what was found instead."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.demo.scene import Scene
from deploy.demo.walk import Outcome


@dataclass(frozen=True, slots=True)
class Expectation:
    """One claim: whether it held, and what was found."""

    claim: str
    held: bool
    found: str


def expectations(scene: Scene, outcome: Outcome, events: int, intact: bool) -> Iterator[Expectation]:
    """Every claim in the order of the story."""
    stages = outcome.progress.stages()
    chargers = scene.plan.chargers
    yield Expectation(
        f"{chargers} chargers registered", outcome.enrolled == chargers, f"{outcome.enrolled} registered"
    )
    yield Expectation(
        f"{scene.expected_active} chargers hold an active certificate, seen live over mutual TLS",
        stages["active"] == scene.expected_active and len(outcome.on_profile_3) == scene.expected_active,
        f"{stages['active']} active, {len(outcome.on_profile_3)} on profile 3, {_words(outcome)}",
    )
    spoken = versions(outcome)
    yield Expectation(
        "chargers of OCPP 1.6, 2.0.1 and 2.1 are among them",
        len(spoken) == 3,
        ", ".join(f"{count} of {version}" for version, count in sorted(spoken.items())) or "none",
    )
    yield Expectation(
        "the charger that never reconnects is overdue, with the reason",
        outcome.overdue_reason is not None,
        outcome.overdue_reason or "not overdue",
    )
    yield Expectation(
        "its old credential still works",
        outcome.old_credential_works,
        "reconnected with profile 2" if outcome.old_credential_works else "could not reconnect",
    )
    yield Expectation(
        "the CSR in another charger's name is refused, with the reason",
        (outcome.refused_reason or "").startswith("csr-subject-mismatch"),
        outcome.refused_reason or "not refused",
    )
    cut = outcome.seconds_to_cut
    yield Expectation(
        "the revoked charger's socket is cut",
        cut is not None,
        f"{cut:.2f} s after the request" if cut is not None else "still connected",
    )
    yield Expectation(
        "it does not get in again",
        cut is not None and not outcome.returned_after_revocation,
        "reconnected" if outcome.returned_after_revocation else "refused",
    )
    done = outcome.revoke_job is not None and outcome.revoke_job["state"] == "succeeded"
    yield Expectation("the CA has revoked the certificate", done, "accepted" if done else "not yet")
    yield Expectation(
        "every hash chain of the ledger holds", intact and events > 0, f"{events} events verified"
    )


def versions(outcome: Outcome) -> Counter[str]:
    """How many chargers were seen live on profile 3 in each version of OCPP."""
    sessions = [charger["session"] for charger in outcome.on_profile_3]
    return Counter(str(session["ocpp_version"]) for session in sessions)


def _words(outcome: Outcome) -> str:
    return ", ".join(f"{count} {stage}" for stage, count in sorted(outcome.progress.stages().items()))
