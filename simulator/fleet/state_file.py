"""What the chargers of a fleet hold, kept in a file so that they outlive the simulator's process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

Memories = dict[str, dict[str, Any]]


def read_memories(path: Path | None) -> Memories:
    """Memories by charger id as `write_memories` left them; none without a file."""
    if path is None or not path.exists():
        return {}
    memories: Memories = orjson.loads(path.read_bytes())
    return memories


def write_memories(path: Path, memories: Memories) -> None:
    """Replace the file in one step; it holds private keys, so only its owner may read it."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(memories))
    beside.replace(path)
