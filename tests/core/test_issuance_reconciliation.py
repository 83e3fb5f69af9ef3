"""An attempt whose call may have gone through: the CA's records are searched before anything else is asked of it."""

import pytest
from msgspec.structs import replace

from bfactors import evidence as v
from bfactors.charger import outgoing
from bfactors.charger.project import project
from bfactors.effect import IssueCertificate, ReconcileIssuance
from tests.core import pki
from tests.core.test_charger_unhappy import to_csr
from tests.core.world import ARN, World

REF = f"{ARN}/certificate/1"


def in_doubt() -> tuple[World, IssueCertificate]:
    world = to_csr(World())
    world.present_csr()
    first = world.issue_effect()
    world.tell(v.IssuanceAttemptLapsed(job_id=first.job_id, attempt=1, in_doubt=True))
    return world, first


def effect(world: World) -> IssueCertificate | ReconcileIssuance:
    (only,) = outgoing.effects(world.charger, world.facts)
    assert isinstance(only, IssueCertificate | ReconcileIssuance)
    return only


def reconciled(world: World, external_ref: str | None, attempt: int = 1) -> None:
    (job,) = world.charger.jobs.values()
    body = v.IssuanceReconciled(
        job_id=job.job_id,
        attempt=attempt,
        external_ref=external_ref,
        report_ref="report-1",
        report_at=world.now,
    )
    world.tell(body)


def test_the_search_is_for_exactly_what_was_asked_and_nothing_else_is_owed_meanwhile() -> None:
    world, first = in_doubt()
    search = effect(world)
    assert isinstance(search, ReconcileIssuance)
    asked = (first.template, first.not_before, first.not_after, first.call_before, first.authority_arn)
    assert asked == (
        search.template,
        search.not_before,
        search.not_after,
        search.call_before,
        search.authority_arn,
    )
    assert search.effect_id != first.effect_id
    (job,) = world.charger.jobs.values()
    assert (job.waiting_for, job.reason_code) == ("reconciliation", "awaiting-reconciliation")
    assert world.names()[-2:] == ["IssuanceReconciliationStarted", "CertificateJobStageChanged"]


def test_one_that_is_found_is_adopted_and_only_fetched() -> None:
    world, first = in_doubt()
    reconciled(world, REF)
    adopted = effect(world)
    assert isinstance(adopted, IssueCertificate)
    assert (adopted.attempt, adopted.external_ref, adopted.token) == (1, REF, first.token)
    (job,) = world.charger.jobs.values()
    assert (job.waiting_for, job.reason_code) == ("ca", None)
    assert "IssuanceAdopted" in world.names()
    assert "IssuanceInDoubt" not in world.names()


def test_when_there_is_none_the_next_attempt_opens_without_a_doubt() -> None:
    world, first = in_doubt()
    reconciled(world, None)
    second = world.issue_effect()
    assert (second.attempt, second.csr_pem) == (2, first.csr_pem)
    assert second.token != first.token
    assert "IssuanceLapsed" in world.names()
    assert "IssuanceInDoubt" not in world.names()


def test_what_nobody_can_find_out_stays_a_doubt_with_its_reason() -> None:
    world, _ = in_doubt()
    (job,) = world.charger.jobs.values()
    world.tell(
        v.IssuanceUnreconciled(job_id=job.job_id, attempt=1, code="AccessDeniedException", message="denied")
    )
    (doubt,) = [event for event in world.events if type(event).__name__ == "IssuanceInDoubt"]
    assert (doubt.reason_code, doubt.reason_message) == ("AccessDeniedException", "denied")  # type: ignore[attr-defined]
    assert world.issue_effect().attempt == 2


@pytest.mark.parametrize("late", ["lapsed", "reconciled", "unreconciled", "found"])
def test_what_comes_late_or_twice_about_an_attempt_changes_nothing(late: str) -> None:
    world, _ = in_doubt()
    reconciled(world, None)
    (job,) = world.charger.jobs.values()
    before = world.charger
    match late:
        case "lapsed":
            world.tell(v.IssuanceAttemptLapsed(job_id=job.job_id, attempt=1, in_doubt=True))
        case "unreconciled":
            world.tell(v.IssuanceUnreconciled(job_id=job.job_id, attempt=1, code="x", message="y"))
        case "found":
            reconciled(world, REF)
        case _:
            reconciled(world, None)
    assert world.charger == before


def test_what_is_to_be_signed_says_how_much_of_a_hurry_it_is_in() -> None:
    world = World()
    first = world.to_active()
    world.request("renew")
    world.carry_out()
    world.present_csr(pki.csr("SN-1"))
    renewal = world.issue_effect()
    assert (renewal.replaces_until, renewal.is_incident) == (first.not_after, False)


def test_the_answer_itself_ends_the_search_if_it_comes_after_all() -> None:
    world, first = in_doubt()
    world.tell(v.IssuanceRequested(job_id=first.job_id, attempt=1, external_ref=REF))
    found = effect(world)
    assert isinstance(found, IssueCertificate)
    assert found.external_ref == REF
    (job,) = world.charger.jobs.values()
    assert job.waiting_for == "ca"
    reconciled(world, f"{REF}-other")
    assert effect(world) == found


def test_a_lapse_told_by_someone_who_has_not_heard_of_the_answer_is_none() -> None:
    world = to_csr(World())
    world.present_csr()
    first = world.issue_effect()
    world.tell(v.IssuanceRequested(job_id=first.job_id, attempt=1, external_ref=REF))
    before = world.charger
    world.tell(v.IssuanceAttemptLapsed(job_id=first.job_id, attempt=1, in_doubt=True))
    assert world.charger == before


def test_a_search_at_a_ca_that_was_replaced_ends_in_doubt_and_the_new_one_is_asked() -> None:
    world, _ = in_doubt()
    before = world.charger
    search = effect(world)
    authority = world.facts.authorities["charging_station"]
    other = replace(authority, arn="arn:aws:acm-pca:eu-central-1:0:certificate-authority/2")
    world.facts = replace(world.facts, authorities={"charging_station": other})
    world.wait(seconds=1)
    second = world.issue_effect()
    assert (second.attempt, second.authority_arn) == (2, other.arn)
    assert "IssuanceInDoubt" in world.names()
    rows = project(before, world.charger, {}, world.facts).effects
    assert {(row.effect_id, row.outstanding) for row in rows} == {
        (search.effect_id, False),
        (second.effect_id, True),
    }


def test_rows_settle_the_call_when_the_search_begins_and_the_search_when_it_ends() -> None:
    world = to_csr(World())
    world.present_csr()
    before, first = world.charger, world.issue_effect()
    world.tell(v.IssuanceAttemptLapsed(job_id=first.job_id, attempt=1, in_doubt=True))
    search = effect(world)
    rows = project(before, world.charger, {}, world.facts).effects
    assert {(row.effect_id, row.outstanding) for row in rows} == {
        (first.effect_id, False),
        (search.effect_id, True),
    }
    before = world.charger
    reconciled(world, REF)
    rows = project(before, world.charger, {}, world.facts).effects
    assert {(row.effect_id, row.outstanding) for row in rows} == {
        (search.effect_id, False),
        (first.effect_id, True),
    }
