"""An operator's tool: a client of the admin API, and of nothing else."""
