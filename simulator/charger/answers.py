"""A charger's answer to any call: its version's table, and the faults that come before it."""

from __future__ import annotations

from simulator.charger.answer import Answer
from simulator.charger.dialect import Dialect
from simulator.charger.fault_conduct import AnswersWith
from simulator.charger.frame import Call, CallRefused
from simulator.charger.journal import Happening
from simulator.charger.station import Station


class Answers:
    """The charger's side of every call it knows."""

    def __init__(self, station: Station, dialect: Dialect) -> None:
        self._station = station
        self._dialect = dialect
        self._known = dialect.answers(station)

    def to(self, call: Call) -> Answer:
        """The answer to one call.

        Raises: CallRefused, to be sent as CALLERROR, its code spelled as the version does.
        """
        known = self._known.get(call.action)
        if known is None:
            raise CallRefused("NotImplemented", f"{call.action} is not known here")
        scripted = self._station.faults.spend(AnswersWith, call.action)
        if scripted is not None:
            self._station.journal.record(Happening.FAULT_STRUCK, f"AnswersWith {call.action}")
            return Answer({"status": scripted.status})
        try:
            return known(call.payload)
        except CallRefused as error:
            raise CallRefused(self._dialect.error_code(error.code), error.description) from error
