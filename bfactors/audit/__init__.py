"""What convinces an outsider: Merkle trees over the ledger's rows, signed tree heads, proofs. Values in, values out."""
