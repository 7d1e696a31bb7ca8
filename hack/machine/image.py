"""What the virtual machine is made of: Debian 13 as production has it, and QEMU 10 in a directory tree of its own.

Both come from the distribution's mirror by mmdebstrap, once; they lie in $CRISHIM_CACHE/vm. A disk image's name holds a
hash of everything it was made of.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from crishim.linux import mounts
from hack.machine.needs import Missing, run, say

MIRROR = "http://deb.debian.org/debian"
SUITE = "trixie"
PYTHON = "3.13"  # its version there
QEMU = ("base-files", "qemu-system-x86", "seabios", "ipxe-qemu")
SYSTEM = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "apparmor", "linux-image-amd64", "initramfs-tools", "zstd"),
    *("iproute2", "iptables", "nftables", "ethtool", "pciutils", "procps", "openssh-server", "ca-certificates"),
    "sudo",  # critest loads its AppArmor profiles by it
    *("python3", "python3-venv", "busybox-static", "criu"),
    *("crun", "runc", "conmon", "skopeo", "catatonit", "containernetworking-plugins"),
)
SPACE = 8_000_000_000  # bytes: trees and image while they are made
DISK = "8G"  # sparse
GUEST_MAC = "52:54:00:00:00:01"  # the interface of QEMU's user network; the others are for pods
# Options that make a mirror do that is a few weeks old: its signature counts, not its date.
_APT = ('--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Retries "3"')

_NETWORK = f"""[Match]
MACAddress={GUEST_MAC}
[Network]
DHCP=ipv4
LinkLocalAddressing=no
"""
_FSTAB = """/dev/vda / ext4 defaults 0 1
tree /work 9p ro,trans=virtio,version=9p2000.L,msize=512000,cache=readahead,nofail 0 0
cache /cache 9p ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose,nofail 0 0
"""
# What a node of production does not need while it is tried, each seconds of emulated processor.
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer"),
    *("dpkg-db-backup.timer", "systemd-timesyncd.service", "getty@tty1.service", "man-db.timer"),
)
_SETUP = f"""set -eu
echo node > /etc/hostname
echo 127.0.0.1 localhost node > /etc/hosts
passwd -q -d root
ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf || true
mkdir -p /work /cache /root/.ssh /etc/systemd/system/serial-getty@ttyS0.service.d
printf '[Service]\\nExecStart=\\nExecStart=-/sbin/agetty --autologin root --noclear %%I linux\\n' \
  > /etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf
systemctl -q enable systemd-networkd ssh
systemctl -q disable systemd-networkd-wait-online.service
systemctl -q mask {" ".join(_MASKED)}
printf '%s\\n' 9p 9pnet_virtio overlay br_netfilter > /etc/modules-load.d/node.conf
python3 -m venv /opt/test
/opt/test/bin/pip install -q --no-index --no-compile --find-links /wheels -r /wheels/requirements.txt
# All that a test imports, where guest.py has Python look for it: to compile takes an emulated processor minutes.
export PYTHONPYCACHEPREFIX=/var/cache/pycache
/opt/test/bin/python -m compileall -q -x '/(test|idlelib|turtledemo)/' /usr/lib/python3.* /opt/test/lib || true
# As modules of the tree are now: one that has changed since is compiled anew.
/opt/test/bin/python -m compileall -q --invalidation-mode checked-hash /work || true
rm -rf /work/*
printf '%s\\n' virtio_pci virtio_blk ext4 >> /etc/initramfs-tools/modules
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
update-initramfs -u
cp -L /boot/vmlinuz-* /vmlinuz.vm
cp -L /boot/initrd.img-* /initrd.vm
"""


def requirements(pyproject: str) -> list[str]:
    """What the tests and a build of the wheel need, of a pyproject.toml's text."""
    parsed = tomllib.loads(pyproject)
    project = parsed["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"], *parsed["build-system"]["requires"]]


def key(*parts: str) -> str:
    """A name for what is made of these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def remove(directory: Path) -> None:
    """Delete a tree, if there is one. Refused while something is mounted in it: a bind mount's files are the host's."""
    if inside := mounts.below(directory):
        raise Missing(f"{inside[0]} is mounted: umount it, then remove {directory}")
    if directory.exists():
        shutil.rmtree(directory)


def qemu_tree(cache: Path) -> Path:
    """The tree that QEMU runs in, made if it is not there."""
    tree = cache / f"qemu-{key(SUITE, *QEMU)}"
    if not tree.exists():
        say(f"QEMU of Debian {SUITE} into {tree}, a minute")
        new = tree.with_suffix(".new")
        remove(new)
        include = f"--include={','.join(QEMU)}"
        _mmdebstrap("--variant=extract", *_APT, include, SUITE, str(new), MIRROR)
        new.rename(tree)
    return tree


def wheels(cache: Path, tree: Path) -> Path:
    """A directory of wheels for the guest's Python, made if it is not there, and requirements.txt in it."""
    pyproject, constraints = (tree / "pyproject.toml").read_text(), tree / "hack/constraints.txt"
    wanted = "\n".join([*requirements(pyproject), "pip", "setuptools", "wheel"]) + "\n"
    directory = cache / f"wheels-{key(wanted, constraints.read_text())}"
    if not directory.exists():
        say(f"wheels of the Python packages for Python {PYTHON}")
        new = directory.with_suffix(".new")
        remove(new)
        new.mkdir()
        (new / "requirements.txt").write_text(wanted)
        command = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(new), "--python-version", PYTHON]
        run([*command, "--only-binary=:all:", "-r", str(new / "requirements.txt"), "-c", str(constraints)], name="pip")
        new.rename(directory)
    return directory


def disk(cache: Path, tree: Path, public_key: str) -> Path:
    """A directory with the guest's disk, vmlinuz and initrd, made if it is not there."""
    packages = wheels(cache, tree)
    directory = cache / f"guest-{key(SUITE, *SYSTEM, _NETWORK, _FSTAB, _SETUP, packages.name, public_key)}"
    if directory.exists():
        return directory
    if shutil.disk_usage(cache).free < SPACE:
        raise Missing(f"less than {SPACE / 1e9:.0f} GB free in {cache}")
    say(f"Debian {SUITE} with systemd, AppArmor, crun and runc into {directory}, some minutes")
    new = directory.with_suffix(".new")
    remove(new)
    new.mkdir(parents=True)
    scratch = Path(tempfile.mkdtemp(prefix="crishim-vm-", dir=_scratch(cache)))
    try:
        _fill(new, scratch / "root", tree, packages, public_key)
    finally:
        remove(scratch)
    new.rename(directory)
    return directory


def _scratch(cache: Path) -> Path:
    """Where the root file system is put together: memory, if there is plenty."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 2 * SPACE / 3 else cache


def _fill(new: Path, root: Path, tree: Path, packages: Path, public_key: str) -> None:
    """The root file system, and of it the disk, the kernel and the initrd in new."""
    for name, text in (("network", _NETWORK), ("fstab", _FSTAB), ("setup", _SETUP), ("key", public_key)):
        (new / name).write_text(text)
    _mmdebstrap(
        *("--variant=minbase", *_APT, '--aptopt=APT::Install-Recommends "false"', f"--include={','.join(SYSTEM)}"),
        *("--dpkgopt=force-unsafe-io", *_kept_downloads(new.parent / "debs")),
        f'--customize-hook=mkdir -p "$1/wheels" "$1/root/.ssh" "$1/work" && cp -r {packages}/. "$1/wheels/"',
        f'--customize-hook=cp -r {tree}/crishim {tree}/tests {tree}/hack "$1/work/"',
        f'--customize-hook=cp {new}/fstab "$1/etc/fstab"; cp {new}/key "$1/root/.ssh/authorized_keys"',
        f'--customize-hook=cp {new}/network "$1/etc/systemd/network/10-host.network"',
        f'--customize-hook=cp {new}/setup "$1/setup"; chroot "$1" sh /setup; rm "$1/setup"',
        *(SUITE, str(root), MIRROR),
    )
    for name in ("vmlinuz", "initrd"):
        shutil.move(root / f"{name}.vm", new / name)
    run(["mkfs.ext4", "-q", "-F", "-d", str(root), str(new / "disk"), DISK])


def _kept_downloads(directory: Path) -> list[str]:
    """Options that take packages from a directory if they are there, and leave there what was downloaded."""
    directory.mkdir(exist_ok=True)
    archives = "/var/cache/apt/archives"
    return [
        *("--skip=download/empty", "--skip=essential/unlink"),
        f'--setup-hook=mkdir -p "$1{archives}"',
        f"--setup-hook=sync-in {directory} {archives}",
        f"--customize-hook=sync-out {archives} {directory}",
    ]


def _mmdebstrap(*arguments: str) -> None:
    if not shutil.which("mmdebstrap"):
        say("apt-get install mmdebstrap")
        try:
            run(["apt-get", "-qq", "update"])
            run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "mmdebstrap"])
        except (Missing, OSError) as error:
            raise Missing(f"mmdebstrap cannot be installed: {error}") from error
    # In a mount namespace of its own: it mounts the host's /dev, and one that is killed leaves no such mount behind.
    private = ("unshare", "--mount", "--propagation", "private")
    run([*private, "mmdebstrap", "--quiet", "--mode=root", *arguments], stdin=subprocess.DEVNULL, name="mmdebstrap")
