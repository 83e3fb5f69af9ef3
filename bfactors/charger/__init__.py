"""One charger: its identity, slots, certificates, jobs and outstanding instructions, and every decision about them.

`state` is what is remembered, `evolve` how an event changes it, `decide` the entry point for commands and evidence;
`session`, `issuance`, `delivery`, `trust_gate`, `migration`, `revocation` and `renewal` hold the rules, `project` the rows.
"""
