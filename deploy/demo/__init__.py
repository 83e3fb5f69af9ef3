"""The demo: a fleet of forty chargers walked from passwords to certificates on this machine, and checked.

`scene` says who takes part and what goes wrong on purpose, `console` reads the control plane as an operator would,
`walk` leads through it, `expectation` holds what must have come true.
"""
