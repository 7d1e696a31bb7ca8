"""crishim under systemd, installed as README.md says: started, upgraded, killed, hung, stopped and uninstalled.

The tests are one story and run in their order.
"""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import eventually, test_program

TREE = Path(__file__).parents[2]
WHEELS = Path("/cache/vm/dist")  # hack/vm test builds them: of the tree, and of an earlier commit
PIP = Path("/opt/crishim/bin/pip")


def run(*command: str, check: bool = True, timeout: float = 600) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def crictl(*arguments: str) -> str:
    return run(test_program("crictl"), "--timeout=120s", *arguments).strip()


def install(kind: str) -> None:
    (wheel,) = (WHEELS / kind).glob("*.whl")
    where = ("--no-index", "--find-links", f"{WHEELS}/wheels")
    run(str(PIP), "install", "-q", *where, "--force-reinstall", "--no-deps", str(wheel))


def prop(name: str) -> str:
    return run("systemctl", "show", "--value", "-p", name, "crishim").strip()


def answers() -> bool:
    command = [test_program("crictl"), "--timeout=60s", "pods", "-q"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Story:
    """What the story knows: its pod, its container, the container's process."""

    pod = container = ""
    pid = 0

    def alive(self) -> bool:
        """The same process, and the daemon knows it."""
        status = json.loads(crictl("inspect", self.container))
        return os.path.exists(f"/proc/{self.pid}") and status["status"]["state"] == "CONTAINER_RUNNING"


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def test_install(busybox_archive: Path) -> None:
    """README's commands, with the wheel of an earlier commit; the doctor finds nothing that must be mended."""
    run("python3", "-m", "venv", "/opt/crishim")
    (wheel,) = (WHEELS / "before").glob("*.whl")
    run(str(PIP), "install", "-q", "--no-index", "--find-links", f"{WHEELS}/wheels", str(wheel))
    Path("/usr/local/bin/crishim").symlink_to("/opt/crishim/bin/crishim")
    for directory in ("/etc/crishim", "/etc/cni/net.d"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    Path("/etc/crishim/config.toml").write_text(run("crishim", "config", "default"))
    run("cp", f"{TREE}/packaging/examples/10-crishim.conflist", "/etc/cni/net.d/")
    run("cp", f"{TREE}/packaging/crictl.yaml", "/etc/crictl.yaml")
    run("cp", f"{TREE}/packaging/crishim.service", "/etc/systemd/system/")
    run("crishim", "config", "check")
    report = run("crishim", "doctor")
    assert "FAIL" not in report


def test_start(story: Story, busybox_archive: Path) -> None:
    """systemd counts it as started when it says so, and a pod runs."""
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "crishim")
    assert (prop("ActiveState"), prop("Type"), prop("NotifyAccess")) == ("active", "notify", "main")
    run("crishim", "images", "import", str(busybox_archive))
    sandbox = f"{TREE}/packaging/examples/pod.json"
    container = json.loads((TREE / "packaging/examples/container.json").read_text())
    container["image"] = {"image": "localhost/crishim/busybox:latest"}
    Path("/root/container.json").write_text(json.dumps(container))
    story.pod = crictl("runp", sandbox)
    story.container = crictl("create", story.pod, "/root/container.json", sandbox)
    crictl("start", story.container)
    story.pid = json.loads(crictl("inspect", story.container))["info"]["pid"]
    assert "eth0" in crictl("exec", story.container, "ip", "addr")
    assert story.alive()


def test_upgrade(story: Story) -> None:
    """Another version of the package and a restart: the container is the same process, and can be entered."""
    install("now")
    run("systemctl", "restart", "crishim")
    assert story.alive()
    assert crictl("exec", story.container, "echo", "hello") == "hello"
    assert "FAIL" not in run("crishim", "doctor")


def test_killed(story: Story) -> None:
    """SIGKILL: systemd starts it again, the container did not notice."""
    before = prop("MainPID")
    os.kill(int(before), signal.SIGKILL)
    eventually(lambda: prop("MainPID") not in ("0", before) and prop("ActiveState") == "active", "a new daemon", 120)
    assert story.alive()


def test_hung(story: Story) -> None:
    """A daemon that shows no life any more is ended by systemd's watchdog and started again."""
    Path("/run/systemd/system/crishim.service.d").mkdir(parents=True, exist_ok=True)
    Path("/run/systemd/system/crishim.service.d/watchdog.conf").write_text("[Service]\nWatchdogSec=20\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "crishim")
    before = prop("MainPID")
    os.kill(int(before), signal.SIGSTOP)
    eventually(lambda: prop("MainPID") not in ("0", before) and prop("ActiveState") == "active", "a new daemon", 180)
    assert "watchdog" in run("journalctl", "-u", "crishim", "-o", "cat").lower()
    Path("/run/systemd/system/crishim.service.d/watchdog.conf").unlink()
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "crishim")
    assert story.alive()


def test_stopped(story: Story) -> None:
    """A stop leaves containers; the next start knows them."""
    run("systemctl", "stop", "crishim")
    assert os.path.exists(f"/proc/{story.pid}")
    run("systemctl", "start", "crishim")
    assert story.alive()


def test_uninstall(story: Story) -> None:
    """docs/records.md: cleanup takes everything away, the container too."""
    run("systemctl", "disable", "--now", "crishim")
    run("crishim", "cleanup", "--apply", "--all")
    assert not os.path.exists(f"/proc/{story.pid}")
    run("rm", "-r", "/opt/crishim", "/usr/local/bin/crishim", "/etc/systemd/system/crishim.service", "/etc/crishim")
    run("systemctl", "daemon-reload")
    left = [path for path in ("/run/crishim/pods", "/var/lib/crishim") if os.path.exists(path)]
    assert not left
