"""Check chains: pure functions that each look at one thing and return a reason and a message, or None."""
