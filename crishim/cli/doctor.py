"""`crishim doctor`: check this host. A flat list of independent checks, each with a fix for its failure."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from crishim import fitness
from crishim.cli import host_rows
from crishim.cli.host_rows import FAIL, OK, WARN, Row
from crishim.config import Config
from crishim.config_paths import find_program
from crishim.errors import CrishimError
from crishim.linux import capabilities, cgroups, mounts, programs

Check = Callable[[Config], Awaitable[list[Row]]]


async def root(config: Config) -> list[Row]:
    if os.geteuid() != 0:
        return [Row("root", FAIL, f"uid {os.geteuid()}", "run as root")]
    if reason := await fitness.root(config):
        return [Row("capabilities", FAIL, reason, "give the service these capabilities")]
    if "CAP_SYS_RESOURCE" not in capabilities.held():
        found = "CAP_SYS_RESOURCE is missing: negative oom_score_adj and raised rlimits are clamped"
        return [Row("capabilities", WARN, found, "give the service CAP_SYS_RESOURCE")]
    return [Row("capabilities", OK, "root with all that is needed")]


async def cgroup(config: Config) -> list[Row]:
    points = mounts.table()
    if cgroups.version(points) == 2:
        return [Row("cgroups", OK, "v2")]
    found = cgroups.of_table(points)
    if not set(found) - {"unified"}:
        return [Row("cgroups", FAIL, "none mounted below /sys/fs/cgroup", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")]
    rows = [Row("cgroups", WARN, "v1: " + ", ".join(sorted(found)), "v2 is what new kernels and kubelets want")]
    left = _controllers_left_in_v2(found)
    if left:
        fix = "; ".join(
            f"mkdir -p {cgroups.ROOT}/{c} && mount -t cgroup -o {c} cgroup {cgroups.ROOT}/{c}" for c in left
        )
        text = f"v1 hybrid, but {', '.join(left)} is left in v2: crun refuses to run a container so"
        rows.append(Row("cgroup hybrid", FAIL, text, fix))
    return rows


def _controllers_left_in_v2(found: dict[str, Path]) -> list[str]:
    try:
        return (found["unified"] / "cgroup.controllers").read_text().split()
    except (KeyError, OSError):
        return []


async def overlay(config: Config) -> list[Row]:
    if "overlay" in Path("/proc/filesystems").read_text():
        return [Row("overlay", OK, "in the kernel")]
    return [Row("overlay", FAIL, "the kernel has no overlayfs", "modprobe overlay")]


async def tools(config: Config) -> list[Row]:
    rows = []
    for name, package in (
        (config.runtimes.conmon, "conmon"),
        (config.images.skopeo, "skopeo"),
        (config.pods.init, "catatonit"),
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
    ):
        if name == config.runtimes.conmon and find_program(name) and (reason := await fitness.conmon(config)):
            rows.append(Row(Path(name).name, FAIL, reason, f"apt-get install {package}"))
            continue
        path, name = find_program(name), Path(name).name
        rows.append(Row(name, OK, path) if path else Row(name, FAIL, f"no {name}", f"apt-get install {package}"))
    return rows


async def runtimes(config: Config) -> list[Row]:
    from crishim.engine.runtime import decode_features, moves_devices

    rows = []
    for name, handler in config.runtimes.handlers.items():
        title = f"runtime {name}" + (" (default)" if name == config.runtimes.default else "")
        if not handler.path:
            continue  # switched off
        path = find_program(handler.path)
        if path is None:
            status = FAIL if name == config.runtimes.default else WARN
            rows.append(
                Row(title, status, f"no {handler.path}", f'install it, or have runtimes.handlers.{name}.path = ""')
            )
            continue
        try:
            done = await programs.run([path, "--version"], timeout=10)
            features = await programs.run([path, "features"], timeout=10, check=False)
        except CrishimError as error:
            rows.append(Row(title, FAIL, error.message, f"reinstall {handler.path}"))
            continue
        first = (done.stdout.decode(errors="replace").splitlines() or ["?"])[0]
        can = features.returncode == 0 and moves_devices(decode_features(features.stdout))
        mover = "moves network devices itself" if can else "network devices are moved by crishim"
        rows.append(Row(title, OK, f"{path}: {first}; {mover}"))
    return rows


_USE_IPTABLES = {"bridge", "ptp", "portmap", "firewall"}  # plugins, for ipMasq, host ports and isolation


async def network(config: Config) -> list[Row]:
    from crishim.cni.chain import PluginChain
    from crishim.cni.directory import ConfigDirectory

    directory = ConfigDirectory(Path(config.network.config_dir), config.network.choose)
    plugins = PluginChain(config.network.plugin_dirs, config.network.timeout)
    try:
        current = directory.current()
        for kind in current.types:
            plugins.find(kind)
    except CrishimError as error:
        fix = (
            f"put a network list into {config.network.config_dir}; plugins: apt-get install containernetworking-plugins"
        )
        return [Row("CNI", FAIL, error.message, fix)]
    rows = [Row("CNI", OK, f"network {current.name}: {', '.join(current.types)}")]
    if rules := sorted(kind for kind in current.types if kind in _USE_IPTABLES):
        path = find_program("iptables")
        found = f"no iptables, which {' and '.join(rules)} may need"
        rows.append(Row("iptables", OK, path) if path else Row("iptables", WARN, found, "apt-get install iptables"))
    return rows


CHECKS: tuple[Check, ...] = (
    *(host_rows.kernel, root, cgroup, host_rows.systemd, host_rows.apparmor, overlay, tools, runtimes, host_rows.criu),
    *(network, host_rows.signature_policy, host_rows.directories),
)


async def examine(config: Config) -> list[Row]:
    """Run every check; one that raises is a failed row of its own."""
    rows = []
    for check in CHECKS:
        try:
            rows += await check(config)
        except (OSError, ValueError) as error:
            rows.append(Row(check.__name__, FAIL, str(error)))
    return rows


def print_report(config: Config) -> int:
    """Print the table; returns 1 if a row fails."""
    rows = asyncio.run(examine(config))
    width = max(len(r.name) for r in rows)
    for row in rows:
        sys.stdout.write(f"{row.status:4}  {row.name:{width}}  {row.found}\n")
        if row.fix and row.status != OK:
            sys.stdout.write(f"{'':4}  {'':{width}}  fix: {row.fix}\n")
    return 1 if any(r.status == FAIL for r in rows) else 0
