"""The ledger's actor: the one writer of a partition.

`actor` owns the lease and the order of things, `commit` loads, folds and writes one batch, `announcement` says what a
commit changed to gateways and CAs, `outgoing_event` publishes the events.
"""
