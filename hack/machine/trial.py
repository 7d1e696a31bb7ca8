"""What hack/vm test runs in the guest, and the table of what ran there and on what."""

import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hack.machine import guest, qemu
from hack.machine.needs import say

_REPORT = "/var/cache/report.xml"
_FACTS = """uname -r; stat -fc %T /sys/fs/cgroup; echo "AppArmor $(cat /sys/module/apparmor/parameters/enabled)"
systemctl --version | head -n 1; for p in crun runc conmon skopeo criu; do $p --version | head -n 1; done
/var/cache/crishim/bin/runc --version | head -n 1"""


@dataclass(frozen=True)
class Run:
    """One command in the guest, and its rows of the table: of pytest's report, or one by its exit status."""

    title: str
    argv: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    report: bool = True  # pytest's


def _pytest(title: str, *arguments: str, **variables: str) -> Run:
    argv = (
        "python",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout=1200",
        f"--junit-xml={_REPORT}",
        *arguments,
    )
    return Run(title, argv, variables)


_DOCTOR = _pytest("doctor", "tests/machine/test_doctor.py")
_CRITEST = Run(
    "critest, AppArmor", ("python", "hack/critest.py", "--images=busybox", "-ginkgo.focus=AppArmor"), report=False
)
_CRIU = ("tests/node/test_checkpoint.py", "tests/node/test_pod_checkpoint.py", "tests/node/test_restore.py")
_ON_V2 = ("tests/node/test_resources.py", "tests/node/test_stats.py")
RUNS = (
    _pytest("systemd", "tests/machine/test_service.py"),
    _pytest("Debian package", "tests/machine/test_package.py"),
    _pytest("devices", "tests/machine/test_devices.py", "tests/machine/test_dra.py"),
    _pytest("AppArmor", "tests/machine/test_apparmor.py"),
    _CRITEST,
    _DOCTOR,
    _pytest("cgroup v2", "tests/machine/test_cgroup2.py"),
    _pytest("criu 4", *_CRIU),
    _pytest("cgroupfs driver", *_ON_V2),
    _pytest("systemd driver", *_ON_V2, CRISHIM_TEST_CGROUP_DRIVER="systemd"),
)
SHORT = (  # what CI has time for
    _DOCTOR,
    _pytest("a pod with a VF", "tests/machine/test_devices.py", "-k", "comes_back and vf"),
    _CRITEST,
)


def chosen(arguments: Sequence[str]) -> Sequence[Run]:
    """All of it; --short: what CI runs; else pytest with the arguments."""
    match arguments:
        case []:
            return RUNS
        case ["--short"]:
            return SHORT
    return [_pytest("", *arguments)]


def run(machine: qemu.Machine, key: Path, runs: Sequence[Run]) -> int:
    """Run them in the guest and print the table; 1 if anything failed."""
    rows, bad = [], 0
    _output(
        machine, key, "echo 2 > /proc/sys/vm/drop_caches"
    )  # /cache/vm/dist is another directory since the last time
    for one in runs:
        say(f"{one.title or 'tests'}: {' '.join(one.argv[3:] if one.report else one.argv)}")
        began = time.monotonic()
        words = [f"{name}={value}" for name, value in one.variables.items()]
        _output(machine, key, f"rm -f {_REPORT}")
        status = guest.call(machine, key, ["env", *words, *one.argv])
        bad += status != 0
        seconds = round(time.monotonic() - began)
        report = _output(machine, key, f"cat {_REPORT}") if one.report else ""
        rows += table(one.title, report) if report else [single(one.title, status, seconds)]
    facts = ", ".join(line.strip() for line in _output(machine, key, _FACTS).splitlines() if line.strip())
    print(f"\n{machine.accel}: {facts}\n")
    print("\n".join(["| what | tests | passed | failed | skipped | seconds |", "|---|---|---|---|---|---|", *rows]))
    return int(bad > 0)


def _output(machine: qemu.Machine, key: Path, line: str) -> str:
    argv = [*guest.ssh(machine, key), guest.shell_line([line])]
    return subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout


def single(title: str, status: int, seconds: int) -> str:
    """The row of a command that has no report."""
    passed, failed = ("yes", "") if status == 0 else ("", f"status {status}")
    return f"| {title} | all | {passed} | {failed} | | {seconds} |"


def table(title: str, report: str) -> list[str]:
    """A row a file of tests, of a JUnit report: how many passed, failed, were skipped and why, and the seconds."""
    found: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    reasons: dict[str, set[str]] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        name = case.get("classname", "").rpartition("tests.")[2]
        how = next((k for k in ("failure", "error", "skipped") if case.find(k) is not None), "passed")
        found.setdefault(name, Counter())[how] += 1
        seconds[name] += round(float(case.get("time", 0)))
        if how == "skipped" and (element := case.find("skipped")) is not None:
            reasons.setdefault(name, set()).add(element.get("message", "")[:120])
    lines = []
    for name, count in found.items():
        why = f" ({'; '.join(sorted(reasons[name]))})" if name in reasons else ""
        failed = count["failure"] + count["error"]
        lines.append(f"| {title} | {name} | {count['passed']} | {failed} | {count['skipped']}{why} | {seconds[name]} |")
    return lines
