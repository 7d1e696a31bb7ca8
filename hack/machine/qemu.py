"""QEMU's command line and its process. It runs in a tree of its own by chroot, with mounts that end with it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.machine.image import GUEST_MAC
from hack.machine.needs import Missing, say

STATE = Path("/run/crishim-vm")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours and cursors of systemd's boot
MEMORY = 3072  # MiB
PROCESSORS = 2
_PORTS = 2  # igb physical functions, on one wire; each has seven virtual functions
# Minutes of emulated processor at a first boot: profiles of a hundred desktop programs compiled, indexes made anew.
SLOW = (
    *("apparmor.service", "ldconfig.service", "systemd-journal-catalog-update.service", "systemd-hwdb-update.service"),
    *("systemd-update-done.service", "systemd-modules-load.service", "systemd-binfmt.service", "console-setup.service"),
    *("modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service", "systemd-logind.service"),
    *(
        "systemd-pstore.service",
        "systemd-random-seed.service",
        "systemd-update-utmp.service",
        "systemd-firstboot.service",
    ),
)
KERNEL = (
    *("root=/dev/vda", "rw", "console=ttyS0", "loglevel=4", "panic=-1"),
    *("mitigations=off", "audit=0"),  # what an emulated processor need not do
    # Not a first boot, which enables what is masked here; on a loaded host nothing is given up for being slow.
    *("systemd.condition_first_boot=0", "systemd.machine_id=6372697368696d2d766d000000000001"),
    *("systemd.default_timeout_start_sec=1200", "systemd.default_device_timeout_sec=1200"),
)
_PROBE = ("-machine", "q35", "-m", "512", "-display", "none", "-nodefaults", "-no-reboot")


@dataclass(frozen=True)
class Machine:
    """A machine that runs: what the other commands need to know of it."""

    pid: int
    started: float  # of the process, to know it by
    port: int  # of ssh, on loopback
    accel: str
    tree: str

    def write(self) -> None:
        (STATE / "machine.json").write_text(json.dumps(asdict(self)))

    def alive(self) -> bool:
        return _started(self.pid) == self.started


def current() -> Machine | None:
    """The machine that runs, if one does."""
    try:
        machine = Machine(**json.loads((STATE / "machine.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return machine if machine.alive() else None


def command(accel: str, port: int) -> list[str]:
    """QEMU's arguments; paths are those in its tree: /guest, /tree, /cache, /state."""
    argv = ["/usr/bin/qemu-system-x86_64", "-name", "crishim", "-machine", "q35", "-nodefaults", "-display", "none"]
    argv += ["-accel", accel, "-cpu", "max", "-smp", str(PROCESSORS), "-m", str(MEMORY), "-no-reboot"]
    argv += ["-kernel", "/guest/vmlinuz", "-initrd", "/guest/initrd"]
    argv += ["-append", " ".join([*KERNEL, *(f"systemd.mask={unit}" for unit in SLOW)])]
    argv += ["-drive", "file=/guest/disk,if=none,id=disk,format=raw,snapshot=on,cache=unsafe"]
    argv += ["-device", "virtio-blk-pci,drive=disk", "-device", "virtio-rng-pci"]
    argv += ["-netdev", f"user,id=host,hostfwd=tcp:127.0.0.1:{port}-:22"]
    argv += ["-device", f"virtio-net-pci,netdev=host,mac={GUEST_MAC}"]
    for n in range(_PORTS):
        argv += ["-device", f"pcie-root-port,id=root{n},chassis={n + 1},slot={n + 1}"]
        argv += ["-netdev", f"hubport,id=wire{n},hubid=1"]
        argv += ["-device", f"igb,bus=root{n},netdev=wire{n},mac=52:54:00:00:01:{n:02x}"]
    for name in ("tree", "cache"):
        argv += ["-fsdev", f"local,id={name},path=/{name},security_model=none,readonly=on,multidevs=remap"]
        argv += ["-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]
    argv += ["-chardev", "socket,id=console,path=/state/console.sock,server=on,wait=off,logfile=/state/console.log"]
    argv += ["-serial", "chardev:console", "-qmp", "unix:/state/qmp.sock,server=on,wait=off"]
    return argv


def inside(tree: Path, binds: Sequence[tuple[Path, str]], argv: Sequence[str]) -> list[str]:
    """A command in a tree of its own; binds: what of the host is seen where in it. All is gone when it ends."""
    lines = ["set -e", 'tree=$1; shift; mount --bind /dev "$tree/dev"; mount -t proc proc "$tree/proc"']
    for path, where in binds:
        lines += [f"mount --bind {_quoted(str(path))} {_quoted(f'{tree}{where}')}"]
    lines += ['exec chroot "$tree" "$@"']
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh", str(tree), *argv]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def accelerator(tree: Path, guest: Path) -> str:
    """kvm if the guest's kernel really runs by it, else QEMU's own translation."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK) and _runs_by_kvm(tree, guest):
        return "kvm"
    return "tcg,thread=multi"


def _runs_by_kvm(tree: Path, guest: Path) -> bool:
    """Whether the kernel comes as far as its first process; some hosts' /dev/kvm runs a firmware and no kernel."""
    (tree / "guest").mkdir(exist_ok=True)
    kernel = ("-kernel", "/guest/vmlinuz", "-initrd", "/guest/initrd", "-append", "console=ttyS0 panic=-1")
    qemu = ("/usr/bin/qemu-system-x86_64", "-accel", "kvm", "-cpu", "max", *_PROBE, *kernel, "-serial", "stdio")
    argv = ["timeout", "20", *inside(tree, [(guest, "/guest")], qemu)]
    done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return b"Run /init as init process" in done.stdout


def start(tree: Path, guest: Path, work: Path, cache: Path, accel: str) -> Machine:
    """Start QEMU; the guest boots from here on."""
    shutil.rmtree(STATE, ignore_errors=True)
    scratch = cache / "vm/scratch"  # what the guest writes; QEMU unlinks it at once
    for path in (STATE, scratch, *(tree / name for name in ("guest", "tree", "cache", "state", "dev", "proc"))):
        path.mkdir(parents=True, exist_ok=True)
    STATE.chmod(0o700)
    (tree / "var/tmp").mkdir(parents=True, exist_ok=True)
    port = _free_port()
    binds = [(guest, "/guest"), (work, "/tree"), (cache, "/cache"), (STATE, "/state"), (scratch, "/var/tmp")]
    argv = ["nice", "-n", "10", *inside(tree, binds, command(accel, port))]
    with (STATE / "qemu.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 30
    while not (STATE / "qmp.sock").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = (STATE / "qemu.log").read_text(errors="replace").strip().splitlines() or ["no word"]
            process.kill()
            raise Missing(f"QEMU does not start: {said[-1][:300]}")
        time.sleep(0.1)
    machine = Machine(process.pid, _started(process.pid), port, accel, str(work))
    machine.write()
    return machine


def stop(machine: Machine) -> None:
    """End QEMU: its disk is a snapshot, nothing of it is kept."""
    if machine.alive():
        os.kill(machine.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while machine.alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    if machine.alive():
        os.kill(machine.pid, signal.SIGKILL)
    shutil.rmtree(STATE, ignore_errors=True)
    say("the machine is off")


def _started(pid: int) -> float:
    """When a process was started, in clock ticks since boot (proc_pid_stat(5)); 0 if there is none or it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else float(fields[19])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def console(limit: int = 160, lines: int = 1) -> str:
    """The last lines the guest's console printed, on one: no longer than limit each."""
    try:
        text = (STATE / "console.log").read_bytes()[-8192:].decode(errors="replace")
    except OSError:
        return ""
    plain = (_ESCAPES.sub("", line).strip() for line in text.replace("\r", "\n").splitlines())
    printed = ["".join(c for c in line if c.isprintable())[:limit] for line in plain if line]
    return " | ".join(printed[-lines:])


def printed() -> int:
    """How much the guest's console has printed, in bytes."""
    try:
        return (STATE / "console.log").stat().st_size
    except OSError:
        return 0


def connect_console() -> int:
    """The guest's serial console on this terminal; ^] ends it."""
    say("serial console, root logs in by itself; ^] ends it")
    if not shutil.which("socat"):
        raise Missing("no socat, which joins the terminal to the console: apt-get install socat")
    path = STATE / "console.sock"
    return subprocess.call(["socat", f"file:{os.ttyname(sys.stdin.fileno())},raw,echo=0,escape=0x1d", f"unix:{path}"])
