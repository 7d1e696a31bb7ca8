"""More checks of `crishim doctor`: kernel, systemd, criu, signature policy, our directories' modes and space."""

import json
import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from crishim import fitness
from crishim.config import Config
from crishim.config_paths import find_program
from crishim.errors import CrishimError
from crishim.linux import apparmor as profiles
from crishim.linux import directories as modes
from crishim.linux import programs

OK, WARN, FAIL = "ok", "warn", "FAIL"
OLDEST = (5, 12)  # mount_setattr(2): idmapped mounts
LITTLE_SPACE = 0.10  # of a file system: the kubelet begins to evict pods below it (imagefs.available 15 %, nodefs 10 %)
_POLICIES = ("/etc/containers/policy.json", "/usr/share/containers/policy.json")  # containers-policy.json(5)
_SYSTEMD_BUS = Path("/run/systemd/private"), Path("/run/dbus/system_bus_socket")


@dataclass(frozen=True)
class Row:
    name: str
    status: str  # OK, WARN (works, with something missing) or FAIL
    found: str
    fix: str = ""


async def kernel(config: Config) -> list[Row]:
    release = os.uname().release
    numbers = re.match(r"([0-9]+)\.([0-9]+)", release)
    if numbers and (int(numbers[1]), int(numbers[2])) >= OLDEST:
        return [Row("kernel", OK, release)]
    wanted = ".".join(map(str, OLDEST))
    return [Row("kernel", FAIL, f"{release} is older than {wanted}", f"boot Linux {wanted} or newer")]


async def systemd(config: Config) -> list[Row]:
    """OCI runtimes ask systemd for cgroups over its private socket or the system bus."""
    if reason := await fitness.systemd(config):
        return [Row("systemd", FAIL, reason, 'runtimes.cgroup_driver = "cgroupfs", for the kubelet as well')]
    if not fitness.SYSTEMD.is_dir():
        return [Row("systemd", OK, "is not the init here, and not needed")]
    bus = next((str(path) for path in _SYSTEMD_BUS if path.is_socket()), "")
    if bus:
        return [Row("systemd", OK, f"bus at {bus}")]
    status = FAIL if config.runtimes.cgroup_driver == "systemd" else WARN
    return [Row("systemd", status, "runs, but has no bus to ask it for cgroups", "systemctl start dbus.socket")]


async def apparmor(config: Config) -> list[Row]:
    """Whether containers get the default AppArmor profile."""
    name = config.runtimes.apparmor_profile
    if not profiles.enabled():
        return [Row("AppArmor", OK, "not in this kernel, and not needed")]
    if not name:
        return [Row("AppArmor", OK, "containers get no profile by default: runtimes.apparmor_profile is empty")]
    if name != profiles.OWN:
        loaded = name in profiles.parse_profiles(profiles.LOADED.read_text())
        fix = f"apparmor_parser --replace FILE, for the profile {name}"
        return [Row("AppArmor", OK if loaded else FAIL, f"{name} is {'' if loaded else 'not '}loaded", fix)]
    if path := find_program(profiles.PARSER):
        return [Row("AppArmor", OK, f"{path} loads {name} when a container first needs it")]
    found = f"no {profiles.PARSER} to load {name}: containers run unconfined by AppArmor"
    return [Row("AppArmor", WARN, found, "apt-get install apparmor")]


async def criu(config: Config) -> list[Row]:
    path, fix = find_program("criu"), "apt-get install criu, at least 3.16"
    if path is None:
        return [Row("criu", WARN, "no criu: containers cannot be checkpointed", fix)]
    try:
        done = await programs.run([path, "--version"], timeout=10)
        await programs.run([path, "check"], timeout=20)
    except CrishimError as error:
        return [Row("criu", WARN, f"containers cannot be checkpointed: {error.message:.300}", fix)]
    first = done.stdout.decode(errors="replace").partition("\n")[0]
    return [Row("criu", OK, f"{path}: {first}")]


async def signature_policy(config: Config) -> list[Row]:
    """containers/image pulls no image without a policy (containers-policy.json(5))."""
    existing = (path for path in _POLICIES if Path(path).exists())
    path = config.images.policy or next(existing, "")
    fix = f'mkdir -p /etc/containers; echo \'{{"default": [{{"type": "insecureAcceptAnything"}}]}}\' > {_POLICIES[0]}'
    if not path:
        return [Row("signature policy", FAIL, f"none at {' or '.join(_POLICIES)}: no image can be pulled", fix)]
    try:
        found = json.loads(Path(path).read_text())
        default = [str(rule["type"]) for rule in found["default"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        return [Row("signature policy", FAIL, f"{path} cannot be read: {error}", fix)]
    return [Row("signature policy", OK, f"{path}: by default {', '.join(default) or 'nothing'}")]


async def directories(config: Config) -> list[Row]:
    wanted = {"state_dir": (config.state_dir, modes.PRIVATE), "run_dir": (config.run_dir, modes.PASSAGE)}
    return [_directory(key, Path(path), mode) for key, (path, mode) in wanted.items()]


def _directory(key: str, path: Path, mode: int) -> Row:
    nearest = next(p for p in (path, *path.parents) if p.exists())
    usage, inodes = shutil.disk_usage(nearest), os.statvfs(nearest)
    free = usage.free / max(usage.total, 1)
    text = f"{path}: {usage.free / 1e9:.1f} GB of {usage.total / 1e9:.1f} GB free"
    if nearest != path:
        text += ", will be made by the daemon"
    elif stat.S_IMODE(path.stat().st_mode) != mode or path.stat().st_uid:
        is_mode, uid = stat.S_IMODE(path.stat().st_mode), path.stat().st_uid
        found = f"{path} has mode {is_mode:04o} and is uid {uid}'s, not {mode:04o} and root's"
        return Row(key, WARN, found, f"chown root:root {path}; chmod {mode:o} {path} (the daemon sets the mode, too)")
    if free < LITTLE_SPACE:
        return Row(key, WARN, text, "make room, or move it")
    if inodes.f_files and inodes.f_favail / inodes.f_files < LITTLE_SPACE:
        return Row(key, WARN, f"{text}, but only {inodes.f_favail} of {inodes.f_files} inodes", "make room, or move it")
    return Row(key, OK, text)
