"""How long a test waits for what was promised to happen."""

PATIENCE_S = 90.0
"""It only ends a wait for what never comes, and says nothing about how soon it should: a crowded machine is no failure.

A bound that is itself a promise (a node's take-over, a stop) is written where that promise is tested.
"""
