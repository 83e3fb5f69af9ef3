"""The exchange rules of one charger's session, without I/O: `start` and `step` fold inputs into outputs.

`message` holds the two closed unions, `state` what is remembered and the numbers, `record` the evidence queue,
`station_call` what the charger asks of us, `own_call` what we ask of it, `step` the fold itself.
"""

from bfactors.exchange.message import Input, Moment, Output
from bfactors.exchange.state import ExchangeRules, ExchangeState
from bfactors.exchange.step import start, step

__all__ = ["ExchangeRules", "ExchangeState", "Input", "Moment", "Output", "start", "step"]
