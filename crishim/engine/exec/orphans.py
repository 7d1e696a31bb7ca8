"""Kill commands of a killed daemon, at the next start, before any command is executed."""

import os
import shutil
import signal
from pathlib import Path

from crishim.linux import process_trees, processes


def kill_orphans(scratch: Path) -> int:
    """Kill commands of an earlier daemon, and remove their files in scratch; returns how many there were. Blocks.

    A runtime is recognised by its arguments, which contain its directory in scratch.
    """
    directories = [d for d in scratch.iterdir() if d.is_dir()] if scratch.exists() else []
    commands = process_trees.command_lines() if directories else {}
    for directory in directories:
        for pid, command in commands.items():
            if os.fsencode(directory / "process.json") in command:
                reference = processes.reference(pid)
                if reference is not None:
                    process_trees.kill_below(reference, [pid, *process_trees.children(pid)])
                    processes.send_signal(reference, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)
    return len(directories)
