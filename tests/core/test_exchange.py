"""The exchange rules of one session: given what happened before, when an input comes, then these outputs."""

import msgspec
import pytest

from bfactors import evidence as v
from bfactors.exchange import ExchangeRules
from bfactors.exchange.message import (
    Ask,
    Decided,
    FrameArrived,
    Leave,
    NewerSession,
    PauseChanged,
    RecordChanged,
    RelayFailed,
    RelayOut,
    RelayStored,
    Restate,
    Retire,
    SessionEnded,
    Suspected,
    Undecided,
)
from bfactors.instruction import CloseSession, ListCertificates, ObtainCsr, Reboot
from bfactors.ocpp import (
    Answered,
    BootReply,
    CallErrorReply,
    CallFailed,
    CsrPresented,
    CsrReply,
    DecidedReply,
    DecisionAsked,
    DefaultReply,
    Disconnected,
    HeartbeatReply,
    HeartbeatSent,
    InboundProblem,
    Relayed,
    SecurityEventNotified,
    Silent,
)
from tests.core.exchange_bench import BOOT, DAWN, Bench, record, session_info

CSR = CsrPresented("charging_station", "MIIB")
TAMPERED = SecurityEventNotified("TamperDetectionActivated", "2026-03-01T05:59:00Z", None)
AUTHORIZE = DecisionAsked("Authorize", b"{}")
METERS = Relayed("MeterValues", b"{}")
TRANSACTION = Relayed("TransactionEvent", b"{}", confirm=True)


# ---------------------------------------------------------------- the beginning


def test_a_session_begins_by_recording_that_it_is_open() -> None:
    bench = Bench()
    [body] = bench.recorded
    assert isinstance(body, v.SessionOpened)
    assert (body.session_id, body.fingerprint_sha256) == ("s-1", bench.info.fingerprint_sha256)
    assert bench.recording is not None
    assert bench.recording.evidence_id == v.evidence_id("s-1", "", "SessionOpened")
    assert bench.recording.source == "node:node-1"


def test_nothing_else_is_recorded_before_session_opened_is_stored() -> None:
    bench = Bench()
    for message, message_id in ((BOOT, "a"), (TAMPERED, "b"), (CSR, "c")):
        assert bench.call(message, message_id).recorded == []
    assert isinstance(bench.store().recorded[0], v.BootReported)
    assert isinstance(bench.store().recorded[0], v.SecurityEventReported)
    assert isinstance(bench.store().recorded[0], v.CsrReceived)


def test_with_nats_away_session_opened_is_tried_again_ever_more_slowly_and_the_session_stays_up() -> None:
    bench = Bench()
    pauses = []
    for _ in range(9):
        timer_s = bench.fail().timer_s
        assert timer_s is not None
        assert bench.wait(timer_s * 0.99).recorded == []
        assert isinstance(bench.wait(timer_s * 0.01 + 1e-6).recorded[0], v.SessionOpened)
        pauses.append(timer_s)
    assert pauses == sorted(pauses)
    assert pauses[0] < 1 < 20 < pauses[-1] < 40
    assert bench.state.phase == "open"


def test_when_nats_returns_an_open_session_is_stated_again_as_another_fact() -> None:
    bench = Bench.introduced()
    assert isinstance(bench.give(Restate()).recorded[0], v.SessionOpened)
    assert bench.recording is not None
    assert bench.recording.evidence_id != v.evidence_id("s-1", "", "SessionOpened")


def test_an_opening_that_may_have_been_stored_before_nats_went_is_stated_again_too() -> None:
    bench = Bench()
    bench.fail()
    bench.give(Restate())
    first = bench.recording
    bench.store()
    assert first is not None
    assert bench.recording is not None
    assert isinstance(bench.recording.body, v.SessionOpened)
    assert bench.recording.evidence_id != first.evidence_id


def test_when_nats_returns_what_waits_is_tried_at_once() -> None:
    bench = Bench()
    bench.fail()
    assert len(bench.give(Restate()).recorded) == 1


# ---------------------------------------------------------------- boot and who is served


def test_boot_is_answered_at_once_without_the_evidence_log() -> None:
    bench = Bench().call(BOOT, "1")
    assert bench.reply == BootReply("Accepted", 300, DAWN)


def test_what_the_charger_says_of_itself_is_recorded() -> None:
    bench = Bench.introduced(booted=False).call(BOOT, "1")
    assert bench.recorded == [
        v.BootReported(
            session_id="s-1",
            vendor="Acme",
            model="X",
            serial_number="SN-1",
            firmware_version="1.0",
            reason="PowerUp",
        )
    ]


def test_of_several_boots_while_nats_is_away_the_last_is_kept() -> None:
    bench = Bench()
    for number in range(40):
        bench.call(msgspec.structs.replace(BOOT, firmware_version=str(number)), str(number))
    assert bench.closes == []
    [body] = bench.store().recorded
    assert isinstance(body, v.BootReported)
    assert body.firmware_version == "39"


@pytest.mark.parametrize("message", [HeartbeatSent(), METERS, TRANSACTION, TAMPERED, CSR])
def test_a_pending_charger_is_answered_security_error(message: Relayed) -> None:
    bench = Bench.introduced(session_info(record=record(mode="pending")))
    assert bench.state.boot == "pending"
    assert bench.call(message, "1").error_code == "SecurityError"
    assert bench.recorded == []


def test_a_pending_charger_is_told_pending_and_soon_to_ask_again() -> None:
    bench = Bench(session_info(record=record(mode="pending"))).call(BOOT, "1")
    assert bench.reply == BootReply("Pending", 60, DAWN)


def test_a_pending_charger_is_served_the_csr_it_was_asked_for_and_no_other() -> None:
    bench = Bench.introduced(session_info(record=record(mode="pending")))
    bench.order(body=ObtainCsr("charging_station")).store()
    [call] = bench.calls
    bench.answer(call.message_id)
    bench.store()
    assert bench.call(CsrPresented("v2g", "MIIC"), "1").error_code == "SecurityError"
    bench.call(CSR, "2")
    assert bench.store().reply == CsrReply(accepted=True)


def test_a_pending_charger_is_served_as_soon_as_its_record_accepts_it() -> None:
    bench = Bench.introduced(session_info(record=record(mode="pending")))
    bench.give(RecordChanged(record(mode="accepted", revision=1)))
    assert isinstance(bench.call(HeartbeatSent(), "1").reply, HeartbeatReply)


def test_a_charger_with_a_credential_to_be_replaced_boots_pending() -> None:
    bench = Bench(session_info(flags=("expired-credential",))).call(BOOT, "1")
    assert isinstance(bench.reply, BootReply)
    assert bench.reply.status == "Pending"


def test_on_an_expired_credential_only_what_was_triggered_is_served() -> None:
    """B02.FR.09; in 1.6 too, which names no code for it."""
    for version in ("1.6", "2.0.1", "2.1"):
        info = session_info(flags=("expired-credential",), ocpp_version=version)
        bench = Bench.introduced(info)
        assert bench.call(HeartbeatSent(), "2").error_code == "SecurityError"
        assert bench.call(CSR, "3").error_code == "SecurityError"
        bench.order(body=ObtainCsr("charging_station")).store()
        [call] = bench.calls
        bench.answer(call.message_id)
        bench.store()
        assert bench.call(HeartbeatSent(), "4").error_code == "SecurityError"
        bench.call(CSR, "5")
        assert bench.store().reply == CsrReply(accepted=True)


def test_a_session_on_an_expired_credential_ends_with_the_permission() -> None:
    bench = Bench.introduced(session_info(flags=("expired-credential",)))
    bench.give(RecordChanged(record(expired_admitted_until=DAWN, revision=1)))
    assert bench.closes == []
    bench.give(RecordChanged(record(revision=2)))
    assert bench.closes == [(1008, "credential-expired")]


def test_a_charger_that_reconnects_without_boot_is_served() -> None:
    bench = Bench.introduced(booted=False)
    assert isinstance(bench.call(HeartbeatSent(), "1").reply, HeartbeatReply)


def test_where_boot_is_required_a_charger_without_it_is_served_after_the_wait() -> None:
    bench = Bench.introduced(rules=ExchangeRules(boot_required=True), booted=False)
    assert bench.call(HeartbeatSent(), "1").error_code == "SecurityError"
    bench.wait(5)
    assert isinstance(bench.call(HeartbeatSent(), "2").reply, HeartbeatReply)


def test_a_boot_with_another_serial_than_the_certificates_closes_the_session_and_is_a_security_event() -> (
    None
):
    bench = Bench.introduced(booted=False)
    bench.call(msgspec.structs.replace(BOOT, serial_number="SN-2"), "1")
    assert bench.replies == []
    assert bench.closes == [(1008, "serial-mismatch")]
    assert isinstance(bench.recorded[0], v.BootReported)
    [event] = bench.store().recorded
    assert isinstance(event, v.SecurityEventReported)
    assert event.event_type == "BootSerialMismatch"
    assert "SN-2" in (event.tech_info or "")


@pytest.mark.parametrize(
    ("profile", "version", "serial"), [(2, "2.0.1", "SN-2"), (3, "1.6", "SN-2"), (3, "2.1", None)]
)
def test_the_serial_is_compared_only_where_a_certificate_and_the_version_name_one(
    profile: int, version: str, serial: str | None
) -> None:
    bench = Bench(session_info(security_profile=profile, ocpp_version=version))
    bench.call(msgspec.structs.replace(BOOT, serial_number=serial), "1")
    assert isinstance(bench.reply, BootReply)


# ---------------------------------------------------------------- what must be stored before it is answered


def test_a_csr_is_accepted_after_its_evidence_is_stored_and_not_before() -> None:
    bench = Bench.introduced().call(CSR, "7")
    assert bench.replies == []
    [body] = bench.recorded
    assert isinstance(body, v.CsrReceived)
    assert (body.session_id, body.message_id, body.purpose) == ("s-1", "7", "charging_station")
    assert body.csr == "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n"
    assert bench.store().replies == [("7", CsrReply(accepted=True))]


def test_a_csr_that_cannot_be_stored_is_never_accepted_but_answered_internal_error_after_ten_seconds() -> (
    None
):
    bench = Bench.introduced().call(CSR, "7")
    bench.fail()
    bench.wait(9.9)
    assert bench.replies == []
    bench.wait(0.1)
    assert bench.error_code == "InternalError"


def test_a_csr_stored_too_late_is_held_and_accepted_when_it_is_presented_again() -> None:
    bench = Bench.introduced().call(CSR, "7")
    assert bench.wait(10).error_code == "InternalError"
    assert bench.store().replies == []
    assert bench.call(CSR, "8").reply == CsrReply(accepted=True)
    assert bench.recorded == []


def test_a_csr_presented_again_while_it_waits_gets_the_full_time_again() -> None:
    bench = Bench.introduced().call(CSR, "7")
    bench.fail()
    bench.wait(8)
    bench.call(CSR, "8")
    if bench.recording is not None:
        bench.fail()
    assert [message_id for message_id, _ in bench.wait(2).replies] == ["7"]
    bench.give(Restate())
    assert bench.store().replies == [("8", CsrReply(accepted=True))]


def test_a_csr_held_is_answered_again_and_not_submitted_again() -> None:
    bench = Bench.introduced().call(CSR, "7").store()
    again = CsrPresented("charging_station", CSR.csr)
    assert bench.call(again, "8").reply == CsrReply(accepted=True)
    assert bench.recorded == []


def test_a_csr_on_its_way_is_submitted_once_and_both_calls_are_answered_when_it_is_stored() -> None:
    bench = Bench.introduced().call(CSR, "7").call(CSR, "8")
    assert bench.recorded == []
    assert bench.store().replies == [("7", CsrReply(accepted=True)), ("8", CsrReply(accepted=True))]


def test_a_csr_with_another_key_is_submitted() -> None:
    bench = Bench.introduced().call(CSR, "7").store()
    assert len(bench.call(CsrPresented("charging_station", "MIIC"), "8").recorded) == 1


def test_a_csr_dressed_differently_is_the_same_csr() -> None:
    bench = Bench.introduced()
    body = "MIIBAAAA"
    bench.call(CsrPresented("charging_station", body), "7").store()
    wrapped = (
        f"-----BEGIN NEW CERTIFICATE REQUEST-----\\r\\n{body}\\r\\n-----END NEW CERTIFICATE REQUEST-----"
    )
    assert bench.call(CsrPresented("charging_station", wrapped), "8").reply == CsrReply(accepted=True)


def test_a_charger_asked_anew_for_a_csr_may_present_the_one_it_presented_before() -> None:
    bench = Bench.introduced().call(CSR, "7").store()
    bench.order(body=ObtainCsr("charging_station")).store()
    assert len(bench.call(CSR, "8").recorded) == 1


def test_a_csr_longer_than_any_charger_may_send_is_rejected() -> None:
    bench = Bench.introduced().call(CsrPresented("charging_station", "M" * 5501), "7")
    assert bench.reply == CsrReply(accepted=False, reason="too-large")


def test_a_csr_no_purpose_is_for_is_rejected_and_goes_nowhere() -> None:
    bench = Bench.introduced().call(CsrPresented("", "x"), "7")
    assert bench.reply == CsrReply(accepted=False, reason="no-such-purpose")
    assert not [body for body in bench.recorded if isinstance(body, v.CsrReceived)]


def test_a_security_event_is_answered_after_it_is_stored() -> None:
    bench = Bench.introduced().call(TAMPERED, "7")
    assert bench.replies == []
    assert bench.recording is not None
    assert bench.recording.source == "charger"
    assert bench.store().reply == DefaultReply()


def test_when_too_much_waits_to_be_stored_a_charger_is_told_to_try_again() -> None:
    bench = Bench(rules=ExchangeRules(evidence_buffered=6, calls_in_flight=20))
    bench.fail()
    codes = []
    for number in range(4):
        event = msgspec.structs.replace(TAMPERED, tech_info=str(number))
        bench.call(event, str(number))
        codes += [reply.code for _, reply in bench.replies if isinstance(reply, CallErrorReply)]
    assert bench.state.phase == "open"
    bench.wait(10)
    codes += [reply.code for _, reply in bench.replies if isinstance(reply, CallErrorReply)]
    assert codes == ["InternalError"] * 4


# ---------------------------------------------------------------- relay


def test_ordinary_traffic_is_relayed_and_answered_at_once() -> None:
    bench = Bench.introduced().call(METERS, "7")
    [relay] = bench.outputs(RelayOut)
    assert (relay.action, relay.message_id, relay.payload) == ("MeterValues", "7", b"{}")
    assert bench.reply == DefaultReply()


def test_ordinary_traffic_is_answered_and_dropped_when_the_relay_does_not_keep_up() -> None:
    bench = Bench.introduced()
    relayed = 0
    for number in range(20):
        bench.call(METERS, str(number))
        relayed += len(bench.outputs(RelayOut))
        assert bench.reply == DefaultReply()
    assert relayed == 8
    bench.give(RelayFailed(0))
    assert len(bench.call(METERS, "x").outputs(RelayOut)) == 1


def test_a_transaction_is_answered_after_the_relay_has_stored_it() -> None:
    bench = Bench.introduced().call(TRANSACTION, "7")
    assert bench.replies == []
    [relay] = bench.outputs(RelayOut)
    assert bench.give(RelayStored(relay.token)).reply == DefaultReply()


def test_a_transaction_the_relay_did_not_store_is_tried_again_and_given_up_after_ten_seconds() -> None:
    bench = Bench.introduced().call(TRANSACTION, "7")
    tries = 0
    while not bench.replies:
        for relay in bench.outputs(RelayOut):
            tries += 1
            bench.give(RelayFailed(relay.token))
        bench.wait(1)
    assert bench.error_code == "InternalError"
    assert tries == 10


# ---------------------------------------------------------------- decisions of others


def test_a_token_is_authorized_as_somebody_else_decides() -> None:
    bench = Bench.introduced().call(AUTHORIZE, "7", "Authorize")
    assert bench.replies == []
    assert bench.outputs(Ask) == [Ask(0, "Authorize", "7", b"{}")]
    assert bench.give(Decided(0, b'{"x":1}')).reply == DecidedReply(b'{"x":1}')


def test_a_token_nobody_decides_on_gets_the_default_at_once_or_after_five_seconds() -> None:
    bench = Bench.introduced().call(AUTHORIZE, "7", "Authorize")
    assert bench.give(Undecided(0)).reply == DefaultReply()
    bench.call(AUTHORIZE, "8", "Authorize")
    assert bench.wait(4.9).replies == []
    assert bench.wait(0.2).reply == DefaultReply()
    assert bench.give(Decided(1, b"{}")).replies == [], "the charger has its answer"


def test_a_decision_goes_to_the_call_it_was_asked_for() -> None:
    bench = Bench.introduced().call(AUTHORIZE, "7", "Authorize").call(AUTHORIZE, "8", "Authorize")
    assert bench.give(Decided(1, b"second")).replies == []
    assert bench.give(Decided(0, b"first")).replies == [
        ("7", DecidedReply(b"first")),
        ("8", DecidedReply(b"second")),
    ]


# ---------------------------------------------------------------- order and repetition


def test_calls_are_answered_in_the_order_they_came() -> None:
    bench = Bench.introduced().call(TRANSACTION, "1")
    [relay] = bench.outputs(RelayOut)
    assert bench.call(HeartbeatSent(), "2").replies == []
    assert bench.give(FrameArrived(InboundProblem("3", "FormatViolation", "x"))).replies == []
    bench.give(RelayStored(relay.token))
    assert [message_id for message_id, _ in bench.replies] == ["1", "2", "3"]


def test_an_answer_that_is_ready_behind_another_call_is_kept_when_its_time_is_over() -> None:
    bench = Bench.introduced().call(TRANSACTION, "1").call(CSR, "2").store()
    assert bench.replies == []
    (first, late), (second, kept) = bench.wait(10).replies
    assert (first, second) == ("1", "2")
    assert isinstance(late, CallErrorReply)
    assert kept == CsrReply(accepted=True)


def test_a_call_too_many_is_refused() -> None:
    bench = Bench.introduced()
    for number in range(8):
        bench.call(msgspec.structs.replace(TRANSACTION, payload=b"%d" % number), str(number))
        assert bench.replies == []
    assert bench.call(HeartbeatSent(), "9").error_code == "InternalError"


def test_a_repeated_call_gets_its_answer_again_and_has_no_second_effect() -> None:
    bench = Bench.introduced().call(METERS, "7")
    first = bench.reply
    bench.now_s += 3
    assert bench.call(METERS, "7").reply == first
    assert bench.outputs(RelayOut) == []


def test_a_call_repeated_while_it_waits_is_answered_once() -> None:
    bench = Bench.introduced().call(CSR, "7").call(CSR, "7")
    assert bench.store().replies == [("7", CsrReply(accepted=True))]


def test_a_message_id_used_again_for_something_else_or_much_later_is_a_new_call() -> None:
    bench = Bench.introduced().call(METERS, "7")
    assert len(bench.call(Relayed("MeterValues", b"[]"), "7").outputs(RelayOut)) == 1
    bench.now_s += 31
    assert len(bench.call(METERS, "7").outputs(RelayOut)) == 1


def test_frames_that_cannot_be_read_are_answered_each() -> None:
    bench = Bench.introduced()
    for _ in range(2):
        bench.give(FrameArrived(InboundProblem("-1", "RpcFrameworkError", "not JSON")))
        assert bench.replies == [("-1", CallErrorReply("RpcFrameworkError", "not JSON"))]


# ---------------------------------------------------------------- our own calls


def test_an_order_leaves_after_it_is_recorded_as_sent() -> None:
    bench = Bench.introduced().order(1)
    assert bench.calls == []
    assert bench.recorded == [v.InstructionSent(instruction_id="i-1", decision=1, session_id="s-1")]
    [call] = bench.store().calls
    assert len(call.message_id) <= 36


def test_with_nats_away_an_order_does_not_leave_until_it_is_back() -> None:
    bench = Bench.introduced().order(1)
    bench.fail()
    for _ in range(60):
        bench.wait(1)
        assert bench.calls == []
        if bench.recording is not None:
            bench.fail()
    assert bench.give(Restate()).calls == []
    assert len(bench.store().calls) == 1


def test_a_repeatable_order_leaves_at_once_and_only_its_answer_is_recorded() -> None:
    bench = Bench.introduced().order(1, body=ListCertificates())
    [call] = bench.calls
    assert bench.recorded == []
    [body] = bench.answer(call.message_id).recorded
    assert body == v.InstructionAnswered(
        instruction_id="i-1", decision=1, session_id="s-1", outcome=Answered("Accepted")
    )


def test_a_repeatable_order_given_again_is_sent_once_a_session_until_it_is_decided_anew() -> None:
    bench = Bench.introduced().order(1, body=ListCertificates())
    [call] = bench.calls
    assert bench.order(1, body=ListCertificates()).out == ()
    bench.answer(call.message_id)
    bench.store()
    assert bench.order(1, body=ListCertificates()).out == ()
    assert len(bench.order(1, decision=2, body=ListCertificates()).calls) == 1


def test_a_repeatable_order_that_got_no_answer_before_the_end_is_of_unknown_outcome() -> None:
    bench = Bench.introduced().order(1, body=ListCertificates())
    [body] = bench.give(SessionEnded("connection-lost")).recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Disconnected()


def test_a_repeatable_order_waits_until_its_answer_can_be_recorded() -> None:
    bench = Bench().call(BOOT, "boot").order(1, body=ListCertificates())
    assert bench.calls == [], "the ledger knows nothing of the session"
    assert len(bench.store().calls) == 1
    bench = Bench.introduced(rules=ExchangeRules(evidence_buffered=5))
    bench.call(TAMPERED, "1")
    assert bench.order(1, body=ListCertificates()).calls == [], "no room for what it may lead to"
    assert len(bench.store().calls) == 1


def test_the_answer_is_recorded_and_the_next_order_follows() -> None:
    bench = Bench.introduced().order(1).order(2)
    [call] = bench.store().calls
    bench.answer(call.message_id, "Rejected")
    [body] = bench.recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Answered("Rejected")
    assert bench.store().recorded == [v.InstructionSent(instruction_id="i-2", decision=1, session_id="s-1")]
    assert len(bench.store().calls) == 1


def test_a_call_error_is_recorded_as_what_it_is() -> None:
    bench = Bench.introduced().order(1).store()
    [body] = bench.refuse(bench.calls[0].message_id).recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == CallFailed("NotSupported")


def test_only_one_call_of_ours_is_outstanding() -> None:
    bench = Bench.introduced().order(1).order(2).store()
    assert bench.calls[0].message_id
    assert bench.recording is None
    bench.wait(29)
    assert bench.calls == []


def test_an_answer_to_another_call_than_the_outstanding_one_settles_nothing() -> None:
    bench = Bench.introduced().order(1).order(2).store()
    assert bench.answer("stray").out == ()
    assert bench.state.outstanding is not None


def test_silence_is_recorded_after_the_time_allowed_and_the_late_answer_changes_nothing() -> None:
    bench = Bench.introduced().order(1).store()
    [call] = bench.calls
    bench.wait(29.9)
    assert bench.recorded == []
    [body] = bench.wait(0.1).recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Silent()
    bench.store()
    assert bench.answer(call.message_id).out == ()


def test_the_same_decision_is_carried_out_once_a_session_and_a_newer_one_again() -> None:
    bench = Bench.introduced().order(1).store()
    bench.order(1)
    bench.answer(bench.state.outstanding.message_id if bench.state.outstanding else "")
    bench.store()
    assert bench.order(1).recorded == []
    assert len(bench.order(1, decision=2).recorded) == 1


def test_a_newer_decision_takes_the_place_of_one_still_waiting() -> None:
    bench = Bench.introduced().order(1).order(2, body=Reboot()).order(2, decision=2, body=Reboot())
    assert [(o.instruction_id, o.decision) for o in bench.state.orders] == [("i-2", 2)]
    bench.order(2, decision=1, body=Reboot())
    assert [(o.instruction_id, o.decision) for o in bench.state.orders] == [("i-2", 2)]


def test_a_decision_overtaken_while_nats_was_away_is_not_sent_beside_the_newer_one() -> None:
    bench = Bench.introduced().order(1, body=Reboot())
    bench.order(1, decision=2, body=Reboot())
    assert bench.store().calls == []
    [body] = bench.recorded
    assert isinstance(body, v.InstructionAnswered)
    assert (body.decision, body.outcome) == (1, Disconnected())
    bench.store()
    assert len(bench.store().calls) == 1


@pytest.mark.parametrize("fields", [{"session_id": "s-0"}, {"charger_id": "CH-2"}])
def test_an_order_for_another_session_is_dropped(fields: dict[str, str]) -> None:
    assert Bench.introduced().order(1, **fields).recorded == []


def test_orders_past_the_bound_are_dropped() -> None:
    bench = Bench.introduced(rules=ExchangeRules(orders_queued=3))
    for number in range(10):
        bench.order(number)
    assert len(bench.state.orders) == 3


def test_orders_wait_for_boot() -> None:
    bench = Bench.introduced(booted=False).order(1)
    assert bench.recorded == []
    assert bench.timer_s == 5
    bench.call(BOOT, "b")
    bench.store()
    assert isinstance(bench.recorded[0], v.InstructionSent)


def test_orders_wait_only_so_long_for_a_boot_that_does_not_come() -> None:
    bench = Bench.introduced(booted=False).order(1)
    assert isinstance(bench.wait(5).recorded[0], v.InstructionSent)


def test_orders_do_not_wait_for_the_boot_of_a_charger_that_is_talking() -> None:
    bench = Bench.introduced(booted=False).order(1)
    assert isinstance(bench.call(HeartbeatSent(), "1").recorded[0], v.InstructionSent)


def test_a_close_session_order_waits_for_no_boot_no_answer_and_no_other_order() -> None:
    bench = Bench.introduced(booted=False)
    bench.order(1, body=CloseSession("replaced"))
    assert [type(body) for body in bench.recorded] == [v.InstructionSent]
    assert bench.store().closes == [(1000, "replaced")]
    bench = Bench.introduced().order(1).store()
    assert bench.calls
    bench.order(2).order(3, body=CloseSession("replaced"))
    assert bench.store().closes == [(1000, "replaced")]


def test_a_close_session_order_is_settled_and_closes() -> None:
    bench = Bench.introduced().order(1, body=CloseSession("new-certificate")).store()
    assert bench.calls == []
    assert bench.closes == [(1000, "new-certificate")]
    [body] = bench.recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Answered("Closed")


def test_a_paused_charger_is_answered_and_begins_nothing_new_but_may_be_cut() -> None:
    bench = Bench.introduced().give(PauseChanged(True))
    assert bench.order(1).recorded == []
    assert isinstance(bench.call(HeartbeatSent(), "1").reply, HeartbeatReply)
    bench.order(2, body=CloseSession("revoked"))
    assert bench.recorded == [v.InstructionSent(instruction_id="i-2", decision=1, session_id="s-1")]


def test_a_pause_does_not_hold_what_is_urgent() -> None:
    bench = Bench.introduced().give(PauseChanged(True))
    bench.order(1).order(2, is_urgent=True)
    assert bench.store().calls[0].message_id == v.evidence_id("s-1", "i-2", "1")


def test_a_resumed_charger_gets_the_orders_that_waited_and_a_pause_lets_a_call_under_way_end() -> None:
    bench = Bench.introduced().give(PauseChanged(True)).order(1)
    assert len(bench.give(PauseChanged(False)).recorded) == 1
    [call] = bench.store().calls
    bench.give(PauseChanged(True))
    assert isinstance(bench.answer(call.message_id).recorded[0], v.InstructionAnswered)


# ---------------------------------------------------------------- the end


def test_a_session_that_ends_says_so_last_and_its_actor_retires() -> None:
    bench = Bench.introduced().order(1).store()
    [answered] = bench.give(SessionEnded("connection-lost")).recorded
    assert isinstance(answered, v.InstructionAnswered)
    assert answered.outcome == Disconnected()
    assert bench.store().recorded == [v.SessionClosed(session_id="s-1", reason="connection-lost")]
    assert bench.outputs(Retire) == []
    assert len(bench.store().outputs(Retire)) == 1


def test_an_ended_session_waits_for_nats_to_record_its_unknown_answer_however_long_it_takes() -> None:
    bench = Bench.introduced().order(1).store()
    bench.give(SessionEnded("connection-lost"))
    for _ in range(200):
        bench.fail()
        assert isinstance(bench.wait(40).recorded[0], v.InstructionAnswered)
    bench.store()
    assert len(bench.store().outputs(Retire)) == 1


def test_an_ended_session_the_ledger_never_heard_of_is_given_up_after_a_while() -> None:
    bench = Bench().give(SessionEnded("connection-lost"))
    assert bench.timer_s == 60
    retired = []
    for _ in range(30):
        if bench.recording is not None:
            bench.fail()
        retired += bench.wait(3).outputs(Retire)
    assert len(retired) == 1


def test_an_order_announced_and_never_sent_ends_as_unknown() -> None:
    bench = Bench.introduced().order(1).give(SessionEnded("connection-lost"))
    bench.store()
    assert bench.calls == []
    [body] = bench.recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Disconnected()
    assert isinstance(bench.store().recorded[0], v.SessionClosed)


def test_an_order_not_even_announced_leaves_no_trace() -> None:
    bench = Bench.introduced().call(CSR, "1").order(1).give(SessionEnded("connection-lost"))
    assert [type(body) for body in bench.store().recorded] == [v.SessionClosed]


def test_a_newer_session_closes_this_one_and_its_own_end_is_recorded_for_itself() -> None:
    bench = Bench.introduced()
    assert bench.give(NewerSession()).closes == [(1000, "replaced")]
    assert bench.give(NewerSession()).closes == []
    assert bench.give(SessionEnded("closed")).recorded == [
        v.SessionClosed(session_id="s-1", reason="replaced")
    ]


def test_a_closing_session_does_not_answer_what_was_waiting() -> None:
    bench = Bench.introduced().call(CSR, "1").give(NewerSession())
    assert bench.store().replies == []


def test_a_closing_session_answers_no_call_and_starts_no_order_but_takes_an_answer() -> None:
    bench = Bench.introduced().order(1).store()
    [call] = bench.calls
    bench.give(Leave(1012, "draining"))
    assert bench.call(HeartbeatSent(), "1").out == ()
    assert bench.order(2).out == ()
    [body] = bench.answer(call.message_id).recorded
    assert isinstance(body, v.InstructionAnswered)
    assert body.outcome == Answered("Accepted")


def test_at_the_bound_of_what_must_not_be_lost_the_session_is_closed_and_nothing_is_lost() -> None:
    rules = ExchangeRules(evidence_buffered=2)
    bench = Bench(rules=rules)
    bench.fail()
    for number in range(3):
        bench.give(Suspected(f"Odd{number}", "x"))
    assert (1013, "evidence-buffer-full") in [
        (c, r) for c, r in bench.closes
    ] or bench.state.phase == "closing"
    bench.give(SessionEnded("closed"))
    bodies = [pending.evidence.body for pending in bench.state.evidence]
    assert [type(body).__name__ for body in bodies] == [
        "SessionOpened",
        *["SecurityEventReported"] * 3,
        "SessionClosed",
    ]


# ---------------------------------------------------------------- the record changes


def test_a_session_whose_record_turns_refused_is_cut() -> None:
    bench = Bench.introduced()
    bench.give(RecordChanged(record(mode="refused", refusal_reason="stolen", revision=1)))
    assert bench.closes == [(1008, "stolen")]


def test_a_session_whose_leaf_is_listed_no_more_is_cut() -> None:
    bench = Bench.introduced()
    bench.give(RecordChanged(record(credentials=(), revision=1)))
    assert bench.closes == [(1008, "credential-unknown")]


def test_an_older_revision_of_the_record_changes_nothing() -> None:
    bench = Bench.introduced(session_info(record=record(revision=5)))
    assert bench.give(RecordChanged(record(mode="refused", revision=4))).out == ()


# ---------------------------------------------------------------- timers


def test_an_idle_session_asks_for_no_timer() -> None:
    bench = Bench.introduced()
    assert bench.wait(0).out == ()
    assert bench.state.timer_s is None


def test_a_later_deadline_does_not_ask_for_a_timer_when_an_earlier_one_is_coming() -> None:
    bench = Bench.introduced().call(TRANSACTION, "1")
    assert bench.timer_s == 10
    bench.now_s += 1
    assert bench.call(msgspec.structs.replace(TRANSACTION, payload=b"2"), "2").timer_s is None


def test_a_tick_too_many_changes_nothing() -> None:
    bench = Bench.introduced().order(1).store()
    before = msgspec.structs.replace(bench.state, timer_s=None)
    bench.wait(1)
    assert msgspec.structs.replace(bench.state, timer_s=None) == before
