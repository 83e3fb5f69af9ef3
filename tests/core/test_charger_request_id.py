"""OCPP 2.1 numbers a charger's request for a certificate and lets it name the root: what the ledger makes of that."""

from typing import Any

import msgspec
import pytest

from bfactors import event as e
from bfactors import evidence as v
from bfactors.certificate_hash import HashData
from bfactors.charger import outgoing
from bfactors.instruction import InstallLeaf
from bfactors.ocpp import Answered
from bfactors.x509 import hash_data, parse_certificates
from tests.core import pki
from tests.core.world import World


def waiting_for_a_csr() -> World:
    world = World()
    world.request()
    world.connect()
    world.confirm_trust()
    world.carry_out()
    return world


def present(world: World, text: str, request_id: int | None, root: HashData | None = None) -> None:
    assert world.charger.session is not None
    world.tell(
        v.CsrReceived(
            session_id=world.charger.session.session_id,
            message_id=f"m{request_id}",
            purpose="charging_station",
            csr=text,
            request_id=request_id,
            hash_root=root,
        )
    )


def deliveries(world: World) -> list[int | None]:
    return [order.request_id for order in world.orders() if isinstance(order, InstallLeaf)]


def issue_requests(world: World) -> int:
    return world.names().count("CertificateIssueRequested")


def test_the_certificate_goes_out_under_the_number_of_its_request() -> None:
    world = waiting_for_a_csr()
    present(world, pki.csr("SN-1"), 7)
    world.ca_issues()
    assert deliveries(world) == [7]


def test_a_csr_repeated_while_the_ca_is_asked_moves_its_certificate_to_the_newest_number() -> None:
    world = waiting_for_a_csr()
    text = pki.csr("SN-1")
    for request_id in (7, 8, 8, 0):
        present(world, text, request_id)
    world.ca_issues()
    assert deliveries(world) == [0]
    assert issue_requests(world) == 1


def test_a_csr_repeated_after_its_certificate_left_gets_it_again_under_the_newest_number() -> None:
    world = waiting_for_a_csr()
    text = pki.csr("SN-1")
    present(world, text, 7)
    certificate = world.ca_issues()
    first = outgoing.orders(world.charger, world.facts, world.now)[0]
    key: dict[str, Any] = {
        "instruction_id": first.instruction_id,
        "decision": first.decision,
        "session_id": first.session_id,
    }
    world.tell(v.InstructionSent(**key))
    present(world, text, 8)
    assert deliveries(world) == [8]
    world.tell(v.InstructionAnswered(outcome=Answered("Rejected"), **key))
    assert world.charger.certificates[certificate.certificate_id].state == "issued", (
        "refused for its number alone"
    )
    world.carry_out()
    assert world.charger.certificates[certificate.certificate_id].state == "installed"
    assert issue_requests(world) == 1


def test_a_repetition_without_a_new_number_changes_nothing() -> None:
    world = waiting_for_a_csr()
    text = pki.csr("SN-1")
    present(world, text, None)
    before = len(world.events)
    present(world, text, None)
    assert len(world.events) == before


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_the_root_our_ca_leads_to_is_recognised_however_the_charger_writes_it(algorithm: str) -> None:
    world = waiting_for_a_csr()
    root = parse_certificates(pki.ca().root_pem)[0]
    ours = hash_data(root, root, algorithm)  # type: ignore[arg-type]
    written = msgspec.structs.replace(ours, issuer_key_hash=ours.issuer_key_hash.upper())
    present(world, pki.csr("SN-1"), 7, written)
    assert issue_requests(world) == 1


def test_another_root_is_refused_with_its_reason() -> None:
    world = waiting_for_a_csr()
    root = parse_certificates(pki.ca("Foreign").root_pem)[0]
    present(world, pki.csr("SN-1"), 7, hash_data(root, root))
    refusals = [event for event in world.events if isinstance(event, e.CSRRefused)]
    assert [refusal.reason for refusal in refusals] == ["csr-root-not-ours"]
    assert [job.reason_code for job in world.jobs.values()] == ["csr-root-not-ours"]
    assert issue_requests(world) == 0
