"""Managed identities beside chargers' hardware: EVSEs, vehicles, contracts, servers. An aggregate each, in few events.

An EVSE's is in the partition of its charger, any other's in the partition of its own id. Chargers are identities of their own
accord (`bfactors.charger`) and have none here.
"""
