"""SECCs against `run.py up`: what a charger is told about each of them, in every version, and what the operator sees of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tests.conformance.control_plane import ControlPlane
from tests.conformance.operator_call import IN_BOTH_VERSIONS
from tests.conformance.raw_charger import Call, Charger, Session, certificates
from tests.conformance.raw_secc import V2G_CHAIN, V2G_ROOT, Secc

pytestmark = [pytest.mark.xdist_group("core-201"), pytest.mark.timeout(60)]

PURPOSE = "secc_iso15118_2"


async def obeyed(session: Session, *seccs: Secc, until_leaves: int) -> list[Call]:
    """Do as told until so many leaves are delivered and listed; everything that was asked. A trigger names its SECC by EVSE."""
    told: list[Call] = []
    current = seccs[0]
    while until_leaves or told[-1].payload.get("certificateType") != [V2G_ROOT, V2G_CHAIN]:
        call = await session.next_call()
        told.append(call)
        if call.action == "TriggerMessage" and "evse" in call.payload:
            current = next(one for one in seccs if call.payload["evse"]["id"] in one.evses)
        elif call.action == "CertificateSigned":
            leaf = certificates(call.payload["certificateChain"])[0]
            current = next(
                one for one in seccs if one.key is not None and leaf.public_key() == one.key.public_key()
            )
            until_leaves -= 1
        await session.answer(call, current.as_told(call))
        if call.action == "TriggerMessage":
            request = current.charger.signing(current.new_csr(), current.certificate_type)
            assert await session.call("SignCertificate", request) == {"status": "Accepted"}
    return told


async def order(secc: Secc, action: str = "issue", **more: object) -> str:
    body = {"managed_identity_id": secc.identity_id, "purpose": PURPOSE, "action": action, "reason": "test"}
    return str((await secc.charger.system.post("/api/v1/jobs", body | more))["job_id"])


@IN_BOTH_VERSIONS
async def test_of_two_seccs_each_gets_its_own_certificate(system: ControlPlane, tmp_path: Path) -> None:
    """Each is triggered by its EVSE, and only its own leaf comes to its slot; a leaf has no extended key usage."""
    charger = await Charger.enrolled(system, tmp_path)
    left = await Secc.registered(charger, 1)
    right = await Secc.registered(charger, 2, 3)
    right.roots = left.roots  # one store for both
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        for secc in (left, right):
            job_id = await order(secc)
            told = await obeyed(session, left, right, until_leaves=1)
            [trigger] = [call for call in told if call.action == "TriggerMessage"]
            assert trigger.payload["evse"] == {"id": secc.evses[0]}
            await system.until_job(job_id, lambda job: job["state"] == "succeeded")
    shown = await system.charger(charger.charger_id)
    slots = {
        slot["managed_identity_id"]: slot["current"] for slot in shown["slots"] if slot["purpose"] == PURPOSE
    }
    for secc in (left, right):
        leaf = certificates(secc.chain_pem)[0]
        assert slots[secc.identity_id]["serial_number"] == f"{leaf.serial_number:x}"
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
        assert (usage.value.digital_signature, usage.value.key_agreement) == (True, True)
        with pytest.raises(x509.ExtensionNotFound):
            leaf.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE)
    assert {part["managed_identity_id"] for part in shown["parts"]} == {left.identity_id, right.identity_id}


@IN_BOTH_VERSIONS
async def test_the_key_of_one_realm_is_refused_in_another(system: ControlPlane, tmp_path: Path) -> None:
    """The charger's own key in a V2G CSR: SignCertificate is Accepted, the job fails and says why; its identity stays."""
    charger = await Charger.enrolled(system, tmp_path)
    secc = await Secc.registered(charger)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        job_id = await system.order(charger.charger_id, purpose=PURPOSE)
        call = await session.next_call()
        while call.action != "TriggerMessage":
            await session.answer(call, secc.as_told(call))
            call = await session.next_call()
        await session.answer(call, {"status": "Accepted"})
        request = charger.signing(secc.new_csr(charger.key), "V2GCertificate")
        assert await session.call("SignCertificate", request) == {"status": "Accepted"}
        job = await system.until_job(job_id, lambda job: job["state"] != "open")
        assert (job["state"], job["reason"]["code"]) == ("failed", "csr-key-reused")
        await charger.boot(session)


@IN_BOTH_VERSIONS
async def test_a_leaf_that_is_not_listed_is_not_active(system: ControlPlane, tmp_path: Path) -> None:
    """A charger that accepts a leaf and never lists it keeps its job open, with the reason, until it has listed it."""
    charger = await Charger.enrolled(system, tmp_path)
    secc = await Secc.registered(charger)
    secc.lists_leaf = False
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        job_id = await system.order(charger.charger_id, purpose=PURPOSE)
        await obeyed(session, secc, until_leaves=1)
        job = await system.until_job(job_id, lambda job: job["reason"] is not None)
        assert (job["state"], job["reason"]["code"]) == ("open", "certificate-not-listed")
        [certificate] = await system.items(
            f"/api/v1/certificates?purpose={PURPOSE}&charger_id={charger.charger_id}"
        )
        assert certificate["state"] == "installed"
        secc.lists_leaf = True
        await secc.obey(session, until="GetInstalledCertificateIds")
        await system.until_job(job_id, lambda job: job["state"] == "succeeded")


@IN_BOTH_VERSIONS
async def test_a_revoked_leaf_is_replaced_over_the_live_session(system: ControlPlane, tmp_path: Path) -> None:
    """The CA revokes it, the session goes on, another key is asked for, and the SECC's slot holds the new leaf."""
    charger = await Charger.enrolled(system, tmp_path)
    secc = await Secc.registered(charger)
    async with charger.connected(charger.tls()) as session:
        await charger.boot(session)
        await order(secc)
        await obeyed(session, secc, until_leaves=1)
        path = f"/api/v1/certificates?managed_identity_id={secc.identity_id}"
        [certificate] = await system.until_items(path, lambda found: found and found[0]["state"] == "active")
        certificate_id = certificate["certificate_id"]
        revocation = await order(
            secc, "revoke", certificate_id=certificate_id, revocation_reason="key_compromise", replace=True
        )
        await obeyed(session, secc, until_leaves=1)
        await system.until_job(revocation, lambda job: job["state"] == "succeeded")
        found = await system.until_items(
            path, lambda found: {one["state"] for one in found} == {"active", "revoked"}
        )
        assert next(one["certificate_id"] for one in found if one["state"] == "revoked") == certificate_id
        await charger.boot(session)


async def test_the_system_says_what_an_secc_needs(system: ControlPlane) -> None:
    """The purposes, their bundle of V2G roots alone, and the central system's bundle without them."""
    purposes = {one["purpose"]: one for one in await system.items("/api/v1/purposes")}
    assert purposes[PURPOSE]["realm"] == "iso15118"
    assert purposes[PURPOSE]["dependent_bundle"] == PURPOSE
    bundles = {one["purpose"]: one for one in await system.items("/api/v1/trust-anchor-bundles")}
    ours, theirs = (
        {anchor["fingerprint_sha256"] for anchor in bundles[name]["anchors"]}
        for name in (PURPOSE, "backend_server")
    )
    assert len(ours) == 1
    assert not ours & theirs, "a V2G root verifies no central system"
    central = [x509.load_pem_x509_certificate(pem.encode()) for pem in system.anchors]
    assert not any("iso15118" in root.subject.rfc4514_string() for root in central)
