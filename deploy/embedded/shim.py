"""Runs in the freshly spawned process, ties its life to the spawner's, and becomes the server.

Started by path with an isolated interpreter, so it imports the standard library only and takes five arguments before
the command: the signal to get when the spawner dies (0 = none), the spawner's process id, and user id, group id, -1 = keep.
A small program and not a `preexec_fn`: it is safe to spawn while other threads exist. The order matters, because
changing the user id clears the parent-death signal: first drop privileges, then ask for the signal, then look whether
the parent has died in between.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
EXIT_PARENT_GONE = 113
EXIT_REFUSED = 114


def become(death_signal: int, parent_pid: int, user_id: int, group_id: int, command: list[str]) -> int:
    """Does not return unless something failed; then it is the exit status."""
    os.umask(0o077)
    if user_id != -1:
        os.setgroups([])
        os.setresgid(group_id, group_id, group_id)
        os.setresuid(user_id, user_id, user_id)
    if death_signal:
        c_library = ctypes.CDLL(None, use_errno=True)
        if c_library.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
            sys.stderr.write(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}\n")
            return EXIT_REFUSED
        if os.getppid() != parent_pid:
            return EXIT_PARENT_GONE
    try:
        os.execv(command[0], command)  # noqa: S606 - becoming this command, without a shell, is the purpose
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        return EXIT_REFUSED


if __name__ == "__main__":
    death_signal, parent_pid, user_id, group_id = (int(argument) for argument in sys.argv[1:5])
    sys.exit(become(death_signal, parent_pid, user_id, group_id, sys.argv[5:]))
