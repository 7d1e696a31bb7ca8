"""Commands whose daemon was killed: they are ended at the next start, before anything is executed."""

import os
import shutil
import signal
from pathlib import Path

from crishim.linux import process_trees, processes


def kill_orphans(scratch: Path) -> int:
    """Kill what an earlier daemon executed, and remove its files in scratch; how many there were. Blocks.

    A runtime is recognised by its arguments, which name its directory in scratch.
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
