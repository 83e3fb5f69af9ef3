#!/usr/bin/env python3
"""BetterFleet's certificate control plane: one command line for every role.

up        the whole control plane in one process; starts PostgreSQL, NATS and the AWS peer if none are given
core      decides and records: the ledger, issuance, the admin API (needs Postgres and NATS)
connect   talks to chargers: sockets, actors, evidence (needs NATS only)
demo      up, and a simulated fleet walked from passwords to certificates
fleet     a simulated fleet against a running system
verify    recompute the ledger's hash chains, offline, and name the first bad row
ctl       an operator's commands: list chargers, jobs, families; qualify a family
token     create, list and revoke admin API tokens
"""

import sys

from deploy.command.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
