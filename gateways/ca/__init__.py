"""Certificate authorities: one file per backend, and what keeps us below their limits."""
