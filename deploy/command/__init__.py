"""The subcommands of run.py, one file each: what it adds to the command line, and what it does."""
