"""What auditors are given: proofs over the API, and evidence packs as archives."""
