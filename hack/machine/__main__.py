"""hack/vm: a machine as production has it: Debian 13 in QEMU, with cgroup v2, systemd, AppArmor and SR-IOV functions.

up             boot it, from a clean disk each time; built first if it is not there (once, minutes)
run COMMAND    in the guest, in the working tree (read-only there, at /work); one word is a line of shell
ssh, console   a shell; the serial console
test [ARGS]    tests/machine in it, then a table of what ran; ARGS are pytest's. A machine it booted is ended
test --short   doctor, a pod with a virtual function, critest's AppArmor specs: what CI runs
down           end it

The exit status is 3, with one line that says why, where this host cannot have the machine.
"""

import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hack.machine import guest, image, packages, qemu, trial
from hack.machine.needs import Missing, say

TREE = Path(__file__).parents[2]


def cache() -> Path:
    return Path(os.environ["CRISHIM_CACHE"])


def up() -> qemu.Machine:
    """The machine that runs, or a new one."""
    if (machine := qemu.current()) and machine.tree == str(TREE):
        return machine
    if machine:
        raise Missing(f"a machine with the tree {machine.tree} is up: hack/vm down there first")
    if os.geteuid() != 0:
        raise Missing("not root, who makes the image and chroots to QEMU")
    key = guest.key(cache())
    with (cache() / "vm/lock").open("w") as lock:  # two at once would remove each other's half-made image
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = image.qemu_tree(cache() / "vm")
        made = image.disk(cache() / "vm", TREE, key.with_suffix(".pub").read_text())
    accel = qemu.accelerator(tree, made)
    return boot(lambda: qemu.start(tree, made, TREE, cache(), accel), key, accel)


def boot(start: Callable[[], qemu.Machine], key: Path, accel: str) -> qemu.Machine:
    """A machine that answers. One whose boot hangs, as on a loaded host it may, is started once more."""
    for left in (1, 0):
        say(f"booting Debian {image.SUITE} ({accel})")
        machine = start()
        try:
            say(f"up after {guest.wait(machine, key):.0f} s")
            return machine
        except guest.HungError as hung:
            qemu.stop(machine)
            if not left:
                raise Missing(f"the guest hangs: {hung}") from hung
            say(f"{hung}; once more")
        except BaseException:
            qemu.stop(machine)
            raise
    raise AssertionError


def running() -> qemu.Machine:
    machine = qemu.current()
    if not machine:
        raise Missing("no machine is up: hack/vm up")
    return machine


def test(arguments: list[str]) -> int:
    was_up = qemu.current() is not None
    began = time.monotonic()
    machine = up()
    runs = trial.chosen(arguments)
    try:
        if runs is not trial.SHORT:  # which installs nothing
            packages.build(TREE, cache() / "vm/dist")
        status = trial.run(machine, guest.key(cache()), runs)
    finally:
        if not was_up:
            qemu.stop(machine)
    say(f"{time.monotonic() - began:.0f} s altogether")
    return status


def main(arguments: list[str]) -> int:
    match arguments:
        case ["up"]:
            up()
            return 0
        case ["ssh"]:
            return guest.call(running(), guest.key(cache()), [], terminal=True)
        case ["console"]:
            running()
            return qemu.connect_console()
        case ["run", *argv] if argv:
            return guest.call(running(), guest.key(cache()), argv, terminal=guest.interactive())
        case ["test", *rest]:
            return test(rest)
        case ["down"]:
            if machine := qemu.current():
                qemu.stop(machine)
            return 0
    sys.stderr.write(f"usage: hack/vm up | run COMMAND | ssh | console | test [ARGUMENTS] | down\n{__doc__}")
    return 2


def command(arguments: list[str]) -> int:
    """main(), and 3 for what this host lacks."""
    try:
        return main(arguments)
    except Missing as missing:
        say(str(missing))
        return 3


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
