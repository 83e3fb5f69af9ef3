"""Firmware trust: a stream of its own beside a charger's, and nothing shared with the hierarchies of operations."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from bfactors import command as c
from bfactors import evidence as v
from bfactors import instruction as i
from bfactors import subject
from bfactors.certificate_hash import HashData, ReportedCertificate
from bfactors.event import ChargerEvent, FleetEvent, InstructionOpened
from bfactors.firmware.command import (
    CancelFirmwareWork,
    CompareRootStores,
    DeleteFirmwareAnchor,
    FirmwareCommand,
    InstallFirmwareAnchor,
    ListFirmwareAnchors,
    OrderFirmwareUpdate,
    RecordFirmwareAnchor,
    WithdrawFirmwareAnchor,
)
from bfactors.firmware.decide import MOST_DECISIONS, MOST_OPEN
from bfactors.firmware.event import FirmwareEvent
from bfactors.firmware.evolve import UPDATES_KEPT, WORK_KEPT
from bfactors.firmware.outgoing import orders
from bfactors.firmware.separation import overlaps
from bfactors.firmware.state import FirmwareCharger
from bfactors.firmware.view import charger_body
from bfactors.firmware_fold import shared
from bfactors.ocpp import Answered, CallFailed, Disconnected, Outcome, Silent
from bfactors.x509 import hash_data as hash_data_of
from bfactors.x509 import parse_certificate
from tests.core import pki
from tests.core.ledger import Partition, asked, fact, opening, registration

MAKER = pki.ca("Maker")
STORE = "ManufacturerRootCertificate"
NAME = hash_data_of(parse_certificate(MAKER.root_pem), parse_certificate(MAKER.root_pem))
RECORD = RecordFirmwareAnchor(anchor_id="maker-1", manufacturer="Maker", pem=MAKER.root_pem)
INSTALL = InstallFirmwareAnchor(
    work_id="firmware-i", charger_id="CP-1", anchor_id="maker-1", pem=MAKER.root_pem, reason="new hall"
)
LIST = ListFirmwareAnchors(work_id="firmware-l", charger_id="CP-1", reason="audit")
COMPARE = CompareRootStores(work_id="firmware-c", charger_id="CP-1", reason="audit")
DELETE = DeleteFirmwareAnchor(work_id="firmware-d", charger_id="CP-1", names=(NAME,), reason="key leaked")


class World(Partition):
    """A partition with one registered charger and a firmware admin."""

    def __init__(self) -> None:
        super().__init__()
        self.commit(asked(registration()), fact(opening()))

    def order(self, command: FirmwareCommand, role: str = "firmware-admin") -> c.CommandAnswer:
        self.commit(order(command, role))
        return self.answers[-1]

    def answer(self, work_id: str, outcome: Outcome, decision: int = 1, session: str = "s1") -> list[str]:
        body = v.InstructionAnswered(
            instruction_id=work_id, decision=decision, session_id=session, outcome=outcome
        )
        return [row.event for row in self.commit(fact(body, name=f"{len(self.rows)}")).events]

    @property
    def charger(self) -> FirmwareCharger:
        return self.firmware["CP-1"]

    def charger_or_none(self) -> FirmwareCharger:
        """As its API has it before anything was asked of it."""
        return self.firmware.get("CP-1", FirmwareCharger(charger_id="CP-1"))

    def sent(self) -> list[i.InstructionKind]:
        return [each.body for each in orders(self.charger, "s1")]

    def lists(self, *names: HashData) -> None:
        """Have it list these."""
        number = f"firmware-{len(self.rows)}"
        self.order(msgspec.structs.replace(LIST, work_id=number))
        entries = tuple(ReportedCertificate(STORE, name) for name in names)
        self.answer(number, Answered("Accepted" if names else "NotFound", listed=entries))


def order(command: FirmwareCommand, role: str = "firmware-admin") -> c.CommandEnvelope:
    return c.CommandEnvelope(command_id="c", actor="operator:fay", role=role, body=command)


def fleet() -> Partition:
    """The fleet's partition, with an issuing CA and its anchors."""
    partition = Partition(0)
    partition.commit(asked(authority(pki.ca())), asked(bundle(pki.ca().root_pem)))
    assert all(answer.refusal is None for answer in partition.answers)
    return partition


def authority(ca: pki.Ca, chain_pem: str = "") -> c.RegisterAuthority:
    return c.RegisterAuthority(
        purpose="charging_station",
        authority_arn="arn:1",
        certificate_pem=ca.pem,
        chain_pem=chain_pem,
        signing_algorithm="SHA256WITHECDSA",
    )


def bundle(*pems: str, bundle_id: str = "b1") -> c.CreateTrustAnchorBundle:
    return c.CreateTrustAnchorBundle(bundle_id=bundle_id, purpose="backend_server", anchors_pem=pems)


def code_of(partition: Partition) -> str | None:
    refusal = partition.answers[-1].refusal
    return None if refusal is None else refusal.code


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: pki.Ca | None = None, key_id: bool = False
) -> str:
    """A CA certificate over a key that is used elsewhere too; self-signed, or by a root."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(pki.BEGIN)
        .not_valid_after(pki.END)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if key_id:
        made = made.add_extension(x509.SubjectKeyIdentifier(b"\x01" * 20), critical=False)
    return pki.pem(made.sign(key if issuer is None else issuer.root_key, hashes.SHA256()))


# ---------------------------------------------------------------- one charger


def test_a_root_is_installed_and_then_listed_before_anybody_believes_it() -> None:
    world = World()
    answer = msgspec.json.decode(world.order(INSTALL).result)
    assert (answer["action"], answer["state"], answer["by"]) == ("install", "open", "operator:fay")
    (sent,) = world.sent()
    assert isinstance(sent, i.InstallFirmwareRoot)
    assert sent.pem == MAKER.root_pem
    assert world.answer("firmware-i", Answered("Accepted")) == [
        "FirmwareAnchorInstalled",
        "FirmwareListRequested",
    ]
    assert charger_body(world.charger, world.firmware_fleet)["roots"][0]["seen"] == "accepted"
    (listing,) = world.charger.outstanding
    assert world.sent() == [i.ListFirmwareRoots()]
    listed = Answered("Accepted", listed=(ReportedCertificate(STORE, NAME),))
    assert world.answer(listing.work_id, listed) == ["FirmwareListReported"]
    assert world.charger.held == (NAME,)
    assert world.sent() == []
    world.check_chain()


def test_what_the_list_lacks_is_not_there_whatever_was_accepted() -> None:
    world = World()
    world.order(INSTALL)
    world.answer("firmware-i", Answered("Accepted"))
    world.answer(world.charger.outstanding[0].work_id, Answered("NotFound"))
    assert charger_body(world.charger, world.firmware_fleet)["roots"] == []


def test_a_deletion_echoes_the_charger_s_own_hash_data() -> None:
    world = World()
    shouted = HashData(
        NAME.algorithm,
        NAME.issuer_name_hash.upper(),
        NAME.issuer_key_hash.upper(),
        NAME.serial_number.upper(),
    )
    world.lists(shouted)
    world.order(DELETE)
    assert world.sent() == [i.DeleteFirmwareRoot(shouted)]
    assert world.answer("firmware-d", Answered("NotFound")) == ["FirmwareAnchorDeleted"]
    assert world.charger.held == ()


def test_only_what_the_last_list_held_is_deleted() -> None:
    world = World()
    assert world.order(DELETE).refusal is not None
    assert code_of(world) == "unknown-hash-data"


def test_what_operations_hold_under_the_same_hash_data_is_not_deleted_with_it() -> None:
    world = World()
    fleet_root = parse_certificate(pki.ca().root_pem)
    name = hash_data_of(fleet_root, fleet_root)
    world.lists(name)
    world.order(msgspec.structs.replace(DELETE, names=(name,)))
    assert code_of(world) == "firmware-hierarchy"


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Answered("Rejected", reason_code="NoSpace"), "firmware-refused-by-charger"),
        (Answered("Failed"), "firmware-refused-by-charger"),
        (CallFailed("NotSupported"), "firmware-call-error"),
    ],
)
def test_a_refusal_ends_the_work_with_its_reason(outcome: Outcome, code: str) -> None:
    world = World()
    world.order(INSTALL)
    assert world.answer("firmware-i", outcome) == ["FirmwareWorkFailed"]
    work = world.charger.work["firmware-i"]
    assert (work.state, work.reason_code) == ("failed", code)
    assert world.sent() == []


# ---------------------------------------------------------------- the two stores of one charger

OPERATIONAL_STORE = "CSMSRootCertificate"
OTHER = HashData("SHA256", "c" * 64, "d" * 64, "77")


def shouted(name: HashData) -> HashData:
    return HashData(
        name.algorithm, name.issuer_name_hash.upper(), name.issuer_key_hash.upper(), "00" + name.serial_number
    )


def compared(world: World, *listed: ReportedCertificate) -> list[dict[str, Any]]:
    """What the API shows of shared roots once the charger has listed these."""
    world.order(COMPARE)
    assert world.sent() == [i.CompareRootStores()]
    answer = Answered("Accepted" if listed else "NotFound", listed=listed)
    assert world.answer("firmware-c", answer) == ["FirmwareListsCompared"]
    assert world.charger.work["firmware-c"].state == "succeeded"
    shown = charger_body(world.charger, world.firmware_fleet)
    assert shown["compared_at"] == world.now
    return list(shown["shared_roots"])


def test_a_root_in_both_stores_is_found_as_the_manufacturers_store_names_it() -> None:
    world = World()
    assert charger_body(world.charger_or_none(), world.firmware_fleet)["compared_at"] is None
    (found,) = compared(
        world,
        ReportedCertificate(OPERATIONAL_STORE, shouted(NAME)),
        ReportedCertificate(OPERATIONAL_STORE, OTHER),
        ReportedCertificate(STORE, NAME),
        ReportedCertificate(STORE, HashData("SHA256", "e" * 64, "f" * 64, "78")),
    )
    assert found["hash_data"] == NAME


def test_stores_that_share_nothing_are_found_to_share_nothing() -> None:
    world = World()
    twice_in_one_store = [ReportedCertificate(STORE, NAME)] * 2
    assert compared(world, *twice_in_one_store, ReportedCertificate(OPERATIONAL_STORE, OTHER)) == []
    assert compared(World()) == []


def test_a_root_that_is_hashed_differently_in_each_store_is_found_if_it_is_an_anchor_of_ours() -> None:
    root = parse_certificate(pki.ca().root_pem)
    world = World()
    (found,) = compared(
        world,
        ReportedCertificate(STORE, hash_data_of(root, root, "SHA256")),
        ReportedCertificate(OPERATIONAL_STORE, hash_data_of(root, root, "SHA384")),
    )
    assert found["hash_data"].algorithm == "SHA256"


def test_what_the_central_system_s_store_holds_is_kept_nowhere_in_firmware_trust() -> None:
    world = World()
    operations = world.states["CP-1"]
    compared(world, ReportedCertificate(OPERATIONAL_STORE, OTHER), ReportedCertificate(STORE, NAME))
    assert OTHER.issuer_name_hash not in msgspec.json.encode(world.charger).decode()
    assert not any(OTHER.issuer_name_hash in str(row) for row in world.rows)
    assert world.charger.held is None, "nor is it the list of manufacturers' roots"
    assert world.states["CP-1"] is operations


def test_a_charger_that_refuses_to_be_compared_is_not_said_to_be_clean() -> None:
    world = World()
    world.order(COMPARE)
    assert world.answer("firmware-c", Answered("Rejected")) == ["FirmwareWorkFailed"]
    assert (world.charger.shared, world.charger.compared_at) == (None, None)


def test_silence_is_asked_again_and_then_given_up() -> None:
    world = World()
    world.order(LIST)
    for decision in range(1, MOST_DECISIONS):
        assert world.answer("firmware-l", Silent(), decision) == ["FirmwareWorkRepeated"]
        assert [each.decision for each in orders(world.charger, "s1")] == [decision + 1]
    assert world.answer("firmware-l", Silent(), MOST_DECISIONS) == ["FirmwareWorkFailed"]
    assert world.charger.work["firmware-l"].reason_code == "firmware-unanswered"


def test_a_lost_connection_leaves_the_work_for_the_next_session() -> None:
    world = World()
    world.order(LIST)
    assert world.answer("firmware-l", Disconnected()) == []
    assert [each.session_id for each in orders(world.charger, "s2")] == ["s2"]


def test_late_and_double_answers_change_nothing() -> None:
    world = World()
    world.order(LIST)
    world.answer("firmware-l", Silent())
    assert world.answer("firmware-l", Answered("Accepted"), decision=1) == []
    assert world.answer("firmware-l", Answered("NotFound"), decision=2) == ["FirmwareListReported"]
    assert world.answer("firmware-l", Answered("NotFound"), decision=2) == []
    assert world.answer("firmware-never", Answered("Accepted")) == []


def test_the_same_command_twice_is_one_piece_of_work() -> None:
    world = World()
    first, second = world.order(INSTALL), world.order(INSTALL)
    assert first.result == second.result
    assert len(world.charger.work) == 1


def test_work_is_cancelled_until_it_has_ended() -> None:
    world = World()
    world.order(LIST)
    cancel = CancelFirmwareWork(charger_id="CP-1", work_id="firmware-l", reason="wrong hall")
    assert world.order(cancel).refusal is None
    assert world.sent() == []
    assert world.order(cancel).refusal is None
    assert world.answer("firmware-l", Answered("Accepted")) == []
    world.order(INSTALL)
    world.answer("firmware-i", Answered("Rejected"))
    world.order(msgspec.structs.replace(cancel, work_id="firmware-i"))
    assert code_of(world) == "work-ended"
    world.order(msgspec.structs.replace(cancel, work_id="firmware-x"))
    assert code_of(world) == "unknown-work"


def test_what_waits_and_what_is_remembered_is_bounded() -> None:
    world = World()
    for number in range(MOST_OPEN):
        assert world.order(msgspec.structs.replace(LIST, work_id=f"firmware-{number}")).refusal is None
    world.order(LIST)
    assert code_of(world) == "too-much-waiting"
    for number in range(MOST_OPEN):
        world.answer(f"firmware-{number}", Answered("NotFound"))
    for _ in range(WORK_KEPT + 5):
        world.lists()
    assert len(world.charger.work) == WORK_KEPT


def test_a_charger_nobody_registered_has_no_firmware_trust() -> None:
    world = World()
    world.order(msgspec.structs.replace(LIST, charger_id="CP-9"))
    assert code_of(world) == "unknown-charger"


# ---------------------------------------------------------------- updates, ordered


def signer(
    issuer: pki.Ca = MAKER,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    is_ca: bool = False,
    begin: datetime = pki.BEGIN,
    end: datetime = pki.END,
) -> str:
    """Who signs firmware, issued by a manufacturer's root."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Firmware signer")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.root.subject)
        .public_key((key or ec.generate_private_key(ec.SECP256R1())).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    return pki.pem(made.sign(issuer.root_key, hashes.SHA256()))


UPDATE = OrderFirmwareUpdate(
    work_id="firmware-u",
    charger_id="CP-1",
    anchor_id="maker-1",
    anchor_pem=MAKER.root_pem,
    location="https://firmware.example/1.bin",
    retrieve_at="2026-01-01T00:00:00.000Z",
    signing_certificate=signer(),
    signature="AA==",
    reason="bulletin",
)


def test_an_update_is_sent_once_accepted_and_followed() -> None:
    world = World()
    world.order(UPDATE)
    (sent,) = world.sent()
    assert sent == i.UpdateFirmware(
        request_id=1001,
        location=UPDATE.location,
        retrieve_at=UPDATE.retrieve_at,
        signing_certificate=UPDATE.signing_certificate,
        signature=UPDATE.signature,
    )
    assert not i.is_repeatable(sent)
    assert world.answer("firmware-u", Answered("Accepted")) == ["FirmwareUpdateAccepted"]
    assert world.sent() == []
    told(world, status("Downloading", 1001))
    told(world, status("Downloading", 7))
    told(world, status("Installed", 1001))
    ours, other = world.charger.updates
    assert (ours.work_id, [text for text, _ in ours.statuses]) == ("firmware-u", ["Downloading", "Installed"])
    assert (other.work_id, other.request_id) == (None, 7)
    world.order(msgspec.structs.replace(UPDATE, work_id="firmware-v"))
    (sent,) = world.sent()
    assert isinstance(sent, i.UpdateFirmware)
    assert sent.request_id == 1002


def test_a_status_says_that_the_charger_has_begun_when_its_answer_was_lost() -> None:
    world = World()
    world.order(UPDATE)
    world.answer("firmware-u", Disconnected())
    assert len(world.sent()) == 1
    assert told(world, status("Downloading", 1001)) == ["FirmwareUpdateAccepted", "FirmwareUpdateObserved"]
    assert world.sent() == []
    assert world.charger.work["firmware-u"].state == "succeeded"
    assert world.answer("firmware-u", Answered("Rejected")) == []


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Answered("InvalidCertificate"), "firmware-refused-by-charger"),
        (Answered("RevokedCertificate"), "firmware-refused-by-charger"),
        (CallFailed("NotImplemented"), "firmware-call-error"),
        (Silent(), "firmware-unanswered"),
    ],
)
def test_an_update_that_is_refused_or_unanswered_is_over_and_not_sent_again(
    outcome: Outcome, code: str
) -> None:
    world = World()
    world.order(UPDATE)
    assert world.answer("firmware-u", outcome) == ["FirmwareWorkFailed"]
    assert (world.charger.work["firmware-u"].reason_code, world.sent()) == (code, [])


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"signing_certificate": signer(pki.ca("Another maker"))}, "firmware-signer-unknown"),
        ({"signing_certificate": signer(is_ca=True)}, "firmware-signer-unknown"),
        ({"signing_certificate": signer(end=pki.BEGIN + timedelta(days=1))}, "firmware-signer-expired"),
        ({"signing_certificate": signer(begin=pki.END - timedelta(days=1))}, "firmware-signer-expired"),
        ({"signing_certificate": signer(key=pki.ca().root_key)}, "firmware-hierarchy"),
        ({"signing_certificate": "nonsense"}, "malformed-certificate"),
        ({"signing_certificate": MAKER.root_pem * 12}, "invalid-value"),
        ({"anchor_pem": signer()}, "not-a-root"),
        ({"location": "https://me:secret@firmware.example/1.bin"}, "secret-in-call"),
        ({"location": "https://firmware.example/1 2.bin"}, "invalid-value"),
        ({"location": "file:///etc/passwd"}, "invalid-value"),
        ({"location": "https://[::1/x"}, "invalid-value"),
        ({"signature": "not base64!"}, "invalid-value"),
        ({"signature": ""}, "invalid-value"),
    ],
)
def test_an_update_nobody_recorded_vouches_for_is_not_ordered(more: dict[str, str], code: str) -> None:
    world = World()
    world.commit(asked(bundle(pki.ca().root_pem)))
    world.order(msgspec.structs.replace(UPDATE, **more))
    assert code_of(world) == code
    assert world.firmware.get("CP-1") is None


def test_a_signer_below_an_intermediate_leads_to_the_anchor() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    middle = signer(key=key, is_ca=True)
    issuer = x509.load_pem_x509_certificate(middle.encode())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Leaf")]))
        .issuer_name(issuer.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(9)
        .not_valid_before(pki.BEGIN)
        .not_valid_after(pki.END)
        .sign(key, hashes.SHA256())
    )
    world = World()
    world.order(msgspec.structs.replace(UPDATE, signing_certificate=pki.pem(leaf) + middle))
    assert code_of(world) is None
    world.order(msgspec.structs.replace(UPDATE, work_id="firmware-w", signing_certificate=pki.pem(leaf)))
    assert code_of(world) == "firmware-signer-unknown"


# ---------------------------------------------------------------- updates, followed


def status(text: str, number: int | None = 1) -> v.FirmwareStatusReported:
    return v.FirmwareStatusReported(session_id="s1", status=text, request_id=number)


def told(world: World, body: v.EvidenceBody) -> list[str]:
    return [row.event for row in world.commit(fact(body, name=f"{len(world.rows)}")).events]


def test_a_signed_update_is_followed_status_by_status_without_repeats_and_idleness() -> None:
    world = World()
    for text in ("Idle", "Downloading", "Downloading", "Downloaded", "SignatureVerified", "Installed"):
        told(world, status(text))
    (update,) = world.charger.updates
    assert [text for text, _ in update.statuses] == [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installed",
    ]
    told(world, status("Downloading", 2))
    assert [each.request_id for each in world.charger.updates] == [1, 2]


def test_a_security_event_about_firmware_belongs_to_both_sides() -> None:
    world = World()
    told(world, status("Downloaded"))
    names = told(
        world,
        v.SecurityEventReported(session_id="s1", event_type="InvalidFirmwareSignature", charger_time="t"),
    )
    assert names[0] == "FirmwareUpdateObserved"
    assert any(name.startswith("SecurityEvent") for name in names), "it stays one for operations"
    assert world.charger.updates[-1].security_event == "InvalidFirmwareSignature"


def test_updates_are_bounded() -> None:
    world = World()
    for number in range(UPDATES_KEPT + 3):
        told(world, status("Downloading", number))
    assert len(world.charger.updates) == UPDATES_KEPT


# ---------------------------------------------------------------- kept apart


def test_firmware_events_leave_the_charger_s_own_state_alone() -> None:
    world = World()
    before = world.states["CP-1"]
    batch = world.commit(order(INSTALL))
    assert world.states["CP-1"] is before
    assert [row.key for row in batch.aggregates] == ["firmware:CP-1"]
    assert batch.chargers == []
    assert batch.instructions == []
    assert {row.charger_id for row in batch.events} == {"CP-1"}


@pytest.mark.parametrize(
    "role", ["pki-admin", "operator", "viewer", "auditor", "rollout-manager", "system", ""]
)
def test_no_other_role_reaches_firmware_trust_and_its_own_reaches_nothing_else(role: str) -> None:
    world = World()
    world.order(INSTALL, role=role)
    assert code_of(world) == "forbidden"
    change = c.ChangeCharger(charger_id="CP-1", site="south")
    world.commit(msgspec.structs.replace(asked(change), role="firmware-admin"))
    assert code_of(world) == "forbidden"


def test_firmware_events_are_named_and_published_apart() -> None:
    for kind in FirmwareEvent.__args__:
        assert subject.is_of_firmware(kind.__name__)
        assert subject.ledger(kind.__name__, "1-2") == f"bf.ledger.firmware.{kind.__name__}.1-2"
    for operational in (*ChargerEvent.__args__, *FleetEvent.__args__):
        assert not subject.is_of_firmware(operational.__name__)


def test_no_operational_instruction_can_be_a_firmware_one() -> None:
    both = msgspec.json.encode({"kind": "compare-root-stores"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(both, type=i.OperationalKind)
    kinds = msgspec.json.encode({"kind": "list-firmware-roots"})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(kinds, type=i.OperationalKind)
    assert msgspec.json.decode(kinds, type=i.InstructionKind) == i.ListFirmwareRoots()
    fields: dict[str, Any] = {field.name: field for field in msgspec.structs.fields(InstructionOpened)}
    assert fields["body"].type == i.OperationalKind


def test_an_anchor_is_recorded_once_and_its_key_is_barred_from_csrs() -> None:
    partition = fleet()
    batch = partition.commit(order(RECORD))
    assert code_of(partition) is None
    assert [row.key for row in batch.aggregates] == ["firmware-fleet"]
    (owner,) = batch.key_owners
    assert owner.spki_sha256 == parse_certificate(MAKER.root_pem).spki_sha256
    partition.commit(order(msgspec.structs.replace(RECORD, anchor_id="other")))
    assert list(partition.firmware_fleet.anchors) == ["maker-1"]
    partition.commit(order(WithdrawFirmwareAnchor(anchor_id="maker-1", reason="end of life")))
    assert partition.firmware_fleet.anchors["maker-1"].withdrawn_at is not None
    partition.commit(order(msgspec.structs.replace(RECORD, anchor_id="maker-2")))
    assert code_of(partition) is None, "its own key is no obstacle to recording it again"
    assert partition.facts.bundles.keys() == {"backend_server"}


@pytest.mark.parametrize(
    ("pem", "code"),
    [
        ("nonsense", "malformed-certificate"),
        (MAKER.pem, "not-a-root"),
        (pki.ca().root_pem, "firmware-hierarchy"),
        (certificate("Other name", pki.ca().root_key), "firmware-hierarchy"),
        (certificate("Issuing key", pki.ca().key), "firmware-hierarchy"),
    ],
)
def test_what_operations_know_is_no_firmware_anchor(pem: str, code: str) -> None:
    partition = fleet()
    partition.commit(order(msgspec.structs.replace(RECORD, pem=pem)))
    assert code_of(partition) == code
    assert partition.firmware_fleet.anchors == {}
    world = World()
    world.order(msgspec.structs.replace(INSTALL, pem=pem))
    assert code_of(world) == code


@pytest.mark.parametrize(
    "command",
    [
        bundle(MAKER.root_pem, bundle_id="b2"),
        bundle(pki.ca("Server").root_pem, certificate("Renamed", MAKER.root_key), bundle_id="b2"),
        authority(MAKER),
        authority(pki.ca("Server"), chain_pem=MAKER.root_pem),
    ],
)
@pytest.mark.parametrize("is_withdrawn", [False, True])
def test_what_firmware_signing_knows_is_no_bundle_and_no_authority(
    command: c.CreateTrustAnchorBundle | c.RegisterAuthority, is_withdrawn: bool
) -> None:
    partition = fleet()
    partition.commit(order(RECORD))
    if is_withdrawn:
        partition.commit(order(WithdrawFirmwareAnchor(anchor_id="maker-1", reason="end of life")))
    before = partition.facts
    partition.commit(asked(command))
    assert code_of(partition) == "firmware-hierarchy"
    assert partition.facts is before


def test_a_charger_s_own_key_is_no_manufacturer_s() -> None:
    partition = fleet()
    partition.key_owners[parse_certificate(MAKER.root_pem).spki_sha256] = "unit-CP-1"
    partition.commit(order(RECORD))
    assert code_of(partition) == "firmware-hierarchy"


def test_a_manufacturer_s_key_is_no_charger_s() -> None:
    """The key goes to the anchor for good; a CSR that comes with it meets another owner."""
    key = ec.generate_private_key(ec.SECP256R1())
    root = certificate("Leaky maker", key)
    partition = fleet()
    partition.commit(order(msgspec.structs.replace(RECORD, pem=root)))
    world = World()
    world.key_owners = partition.key_owners
    issue = c.RequestJob(
        job_id="job", charger_id="CP-1", purpose="charging_station", action="issue", reason="test"
    )
    csr = v.CsrReceived(
        session_id="s1", message_id="m", purpose="charging_station", csr=pki.csr("SN-CP-1", "Depot", key)
    )
    names = [row.event for row in world.commit(asked(issue), fact(csr)).events]
    assert "CSRRefused" in names
    assert "CSRValidated" not in names


def test_an_issuer_behind_two_names_is_found_by_its_signature() -> None:
    one = parse_certificate(MAKER.root_pem)
    below = parse_certificate(certificate("Operations", ec.generate_private_key(ec.SECP256R1()), MAKER))
    assert [each.shared for each in overlaps([one], [below])] == ["issuer"]
    assert [each.shared for each in overlaps([below], [one])] == ["issuer"]
    sibling = parse_certificate(MAKER.pem)
    assert list(overlaps([parse_certificate(pki.ca().root_pem)], [one, sibling])) == []


def test_the_same_name_and_key_id_is_the_same_authority() -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    one, other = (parse_certificate(certificate("Same", key, key_id=True)) for key in keys)
    assert [each.shared for each in overlaps([one], [other])] == ["key"]


def test_the_start_finds_what_came_in_another_way() -> None:
    partition = fleet()
    partition.commit(order(RECORD))
    assert partition.fleet is not None
    assert shared(partition.firmware_fleet, partition.fleet) == []
    (found,) = shared(partition.firmware_fleet, partition.fleet, [MAKER.root_pem])
    assert found.shared == "certificate"
    assert "Maker root" in found.message
    other = Partition(0)
    other.commit(asked(bundle(MAKER.root_pem)))
    assert other.fleet is not None
    assert len(shared(partition.firmware_fleet, other.fleet)) == 1


# ---------------------------------------------------------------- whatever the order

MOVES = ["install", "list", "delete", "cancel", "accept", "reject", "silent", "gone", "status"]


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sampled_from(MOVES), max_size=25))
def test_every_piece_of_work_ends_once_and_nothing_ended_is_sent(moves: list[str]) -> None:
    world = World()
    ended: dict[str, str] = {}
    for number, move in enumerate(moves):
        waiting = world.firmware.get("CP-1", FirmwareCharger(charger_id="CP-1")).outstanding
        work = waiting[0] if waiting else None
        match move:
            case "install":
                world.order(msgspec.structs.replace(INSTALL, work_id=f"firmware-{number}"))
            case "list":
                world.order(msgspec.structs.replace(LIST, work_id=f"firmware-{number}"))
            case "delete":
                world.order(msgspec.structs.replace(DELETE, work_id=f"firmware-{number}"))
            case "cancel" if work is not None:
                world.order(CancelFirmwareWork(charger_id="CP-1", work_id=work.work_id, reason="no"))
            case "status":
                told(world, status("Downloading", number))
            case _ if work is not None:
                entries = (ReportedCertificate(STORE, NAME),)
                outcomes: dict[str, Outcome] = {
                    "accept": Answered("Accepted", listed=entries if work.action == "list" else ()),
                    "reject": Answered("Rejected"),
                    "silent": Silent(),
                    "gone": Disconnected(),
                }
                if move in outcomes:
                    world.answer(work.work_id, outcomes[move], work.decision)
        state = world.firmware.get("CP-1", FirmwareCharger(charger_id="CP-1"))
        for work_id, each in state.work.items():
            assert ended.get(work_id, each.state) == each.state, "an end is an end"
            if each.state != "open":
                ended[work_id] = each.state
        assert {each.instruction_id for each in orders(state, "s1")}.isdisjoint(ended)
        world.now += timedelta(seconds=1)
    world.check_chain()
