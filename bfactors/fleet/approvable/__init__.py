"""The kinds of fleet command that a second person must agree to, one a file; `bfactors.fleet.approval` lists them."""
