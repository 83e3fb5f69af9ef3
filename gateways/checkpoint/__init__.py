"""Checkpoints outside the database: the keys that sign them, and the places where they are written for good."""
