"""critest against a scratch daemon and a registry on loopback, both in a network namespace of their own.

Prints passed, failed and skipped, each failed and skipped spec with its reason, by reason alone what is the host's; the
exit status is 1 for any failure, and for any skip that is not the host's: no AppArmor, no SELinux, an image pinned by a
digest nobody can make here.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.daemon import Daemon, scratch_daemon, test_program
from tests.support.eventually import PATIENCE
from tests.support.isolation import isolate
from tests.support.registry import serve
from tests.support.residue import left_behind

# Skips that this host forces, by what critest says: the feature is not in the kernel, or the registry is out of reach.
APPARMOR = re.compile(r"[Aa]pp[Aa]rmor")
SELINUX = re.compile(r"SELinux|selinux")
BENCHMARK = re.compile(r"benchmark", re.I)
PINNED = "public image with digest should be pulled and removed"  # by the digest of a build that is not ours
UNFOCUSED = "skipped"  # ginkgo's message where no Skip() with a reason was called
MIRRORED = ("registry.k8s.io", "gcr.io", "k8s.gcr.io", "docker.io")


@contextlib.contextmanager
def registry(directory: Path, only: str = "") -> Iterator[str]:
    """A registry with critest's images, or of busybox and its like those with `only` in their names; its address."""
    (directory / "registry").mkdir()
    with serve(directory, directory / "registry") as address:
        work = Path(os.environ["CRISHIM_CACHE"]) / "images"
        command = [sys.executable, "hack/build-images", "--registry", address, "--work", str(work), "--only", only]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield address


def registries_conf(directory: Path, address: str) -> Path:
    """Route the names critest uses to our registry, as an administrator would (containers-registries.conf(5))."""
    path = directory / "registries.conf"
    text = f'unqualified-search-registries = ["docker.io"]\n[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    for name in MIRRORED:
        text += f'[[registry]]\nprefix = "{name}"\nlocation = "{address}"\ninsecure = true\n'
    path.write_text(text)
    return path


def run_critest(daemon: Daemon, directory: Path, number: int, arguments: list[str]) -> subprocess.Popen[bytes]:
    program = os.environ.get("CRITEST") or test_program("critest")
    endpoint = f"unix://{daemon.socket}"
    command = [program, f"-runtime-endpoint={endpoint}", f"-image-endpoint={endpoint}", "-ginkgo.no-color"]
    command += [f"-nri-socket={daemon.directory}/nri.sock"]
    command += [f"-ginkgo.junit-report={directory}/report-{number}.xml", *arguments]
    if handler := os.environ.get("HANDLER"):
        command.append(f"-runtime-handler={handler}")
    log = (directory / f"critest-{number}.log").open("wb")
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)


def results(directory: Path, number: int) -> list[tuple[str, str, str]]:
    """(status, spec, reason) of every spec, from critest's JUnit report."""
    found = []
    for report in directory.glob(f"report-{number}.xml"):
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            name, status = case.get("name", ""), case.get("status", "")
            if not name.startswith("[It]"):
                continue
            trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
            skipped = case.find("skipped")
            element = trouble if trouble is not None else skipped
            reason = (element.get("message") or (element.text or "")) if element is not None else ""
            found.append((status, name.removeprefix("[It] "), " ".join(reason.split())[:2000]))
    return found


def host_lacks(name: str, reason: str) -> bool:
    """Whether a skip is the host's and not ours."""
    text = f"{name} {reason}"
    if APPARMOR.search(text):
        return not Path("/sys/module/apparmor").exists()
    if SELINUX.search(text):
        return not Path("/sys/fs/selinux").exists()
    return PINNED in name and "manifest unknown" in reason


def judge(rows: list[tuple[str, str, str]], focused: bool) -> int:
    """Print the verdict; the exit status."""
    count = Counter(status if not (status == "failed" and PINNED in name) else "impossible" for status, name, _ in rows)
    bad = 0
    lacking: Counter[str] = Counter()
    for status, name, reason in rows:
        if status == "passed" or (
            status == "skipped" and (BENCHMARK.search(name) or (focused and reason == UNFOCUSED))
        ):
            continue
        ours = not host_lacks(name, reason)
        bad += ours
        if ours:
            print(f"{status.upper()}: {name}\n    {reason[:400]}")
        else:
            lacking[f"{status} for what the host lacks: {reason[:200]}"] += 1
    for what, times in lacking.items():
        print(f"{times} {what}")
    failed = len(rows) - count["passed"] - count["skipped"] - count["impossible"]
    print(
        f"critest: {count['passed']} passed, {failed} failed, {count['skipped']} skipped, "
        f"{count['impossible']} with an image that cannot be made here"
    )
    return 1 if bad or not count["passed"] else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1, help="critest processes at once")
    parser.add_argument("--keep-log", type=Path, help="copy the daemon's log here")
    parser.add_argument(
        "--images", default="", metavar="TEXT", help="of busybox and its like those with this in their names, no others"
    )
    known, arguments = parser.parse_known_args()
    isolate()
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="crishim-critest-", dir=base) as name:
        directory = Path(name)
        with registry(directory, known.images) as address:
            settings = {"images": {"registries_conf": str(registries_conf(directory, address))}}
            with scratch_daemon(**settings) as daemon:
                before = daemon.left()
                started = time.monotonic()
                clients = [run_critest(daemon, directory, n, arguments) for n in range(known.clients)]
                statuses = [client.wait() for client in clients]
                print(f"{time.monotonic() - started:.0f} s, critest's own status {statuses}")
                if known.keep_log:
                    known.keep_log.write_bytes(daemon.log.read_bytes())
                rows = [row for n in range(known.clients) for row in results(directory, n)]
                if not rows:
                    print((directory / "critest-0.log").read_text()[-4000:])
                left = left_behind(daemon.left, before, 10 * PATIENCE)
                if left:
                    print(f"left behind: {left}")
        focused = any("ginkgo.focus" in a or "ginkgo.skip" in a for a in arguments)
        return judge(rows, focused) or bool(left)


if __name__ == "__main__":
    sys.exit(main())
