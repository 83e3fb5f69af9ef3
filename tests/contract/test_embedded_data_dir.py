"""A data directory has one owner, private files, and never swallows a stranger's folder."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.embedded.data_dir import DataDirectory
from deploy.embedded.errors import DataDirectoryInUse, DataDirectoryUnusable

OWNER = """
import signal, sys
from pathlib import Path
from deploy.embedded.data_dir import DataDirectory
data = DataDirectory.open(Path(sys.argv[1]))
print("open", flush=True)
signal.pause()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_open_is_refused_and_names_the_owner(tmp_path: Path) -> None:
    with (
        DataDirectory.open(tmp_path / "data"),
        pytest.raises(DataDirectoryInUse, match=f"in use by process {os.getpid()}"),
    ):
        DataDirectory.open(tmp_path / "data")
    DataDirectory.open(tmp_path / "data").close()


def test_a_killed_owner_leaves_the_directory_free(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        with pytest.raises(DataDirectoryInUse, match=str(owner.pid)):
            DataDirectory.open(tmp_path / "data")
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    DataDirectory.open(tmp_path / "data").close()


def test_a_folder_with_somebody_elses_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("private", encoding="utf-8")
    before = mode(tmp_path)
    with pytest.raises(DataDirectoryUnusable, match="not empty"):
        DataDirectory.open(tmp_path)
    assert mode(tmp_path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.txt"]


def test_folders_and_secrets_are_closed_to_others(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as data:
        secret = data.secret_file("seed", lambda: "hidden")
        assert mode(data.path) == (0o711 if os.geteuid() == 0 else 0o700)
        assert (mode(secret.parent), mode(secret)) == (0o700, 0o600)
        assert mode(data.folder("log")) == 0o700


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "data") as data:
        data.secret_file("seed", lambda: "first")
        assert data.secret_file("seed", lambda: "second").read_text(encoding="utf-8") == "first"
