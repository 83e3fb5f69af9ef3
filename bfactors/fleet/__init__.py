"""The fleet partition: what is global - policies, authorities, trust anchor bundles, pauses, connect nodes."""
