"""A text that should stand in no shell's history and in no list of processes: given as it is, or read from a file."""

import sys
from pathlib import Path

from bfactors.errors import SettingsError

FROM_FILE = "itself, @FILE, or - for standard input"


def text_of(text: str) -> str:
    """The text itself, the first line of `@FILE`, or of standard input for `-`. Raises SettingsError."""
    try:
        if text == "-":
            text = sys.stdin.readline()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{text} cannot be read: {problem}") from problem
    return text.strip()
