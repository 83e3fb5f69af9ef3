"""What a charger's firmware trust asks of its session. Derived, like every order: saying it again changes nothing."""

from bfactors.firmware.state import FirmwareCharger
from bfactors.instruction import InstructionOrder

ANSWER_WAIT_S = 60


def orders(state: FirmwareCharger, session_id: str) -> list[InstructionOrder]:
    """What is to be sent on that session, in the order it was wanted."""
    return [
        InstructionOrder(
            instruction_id=work.work_id,
            charger_id=state.charger_id,
            session_id=session_id,
            decision=work.decision,
            answer_wait_s=ANSWER_WAIT_S,
            body=work.body,
        )
        for work in state.outstanding
    ]
