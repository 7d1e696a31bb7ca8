"""crishim under systemd, installed as README.md says: started, upgraded, killed, hung, stopped and uninstalled.

The tests are one story and run in their order.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.machine.story import Story, crictl, prop, run
from tests.support.daemon import eventually

TREE = Path(__file__).parents[2]
WHEELS = Path("/cache/vm/dist")  # hack/vm test builds them: of the tree, and of an earlier commit
PIP = Path("/opt/crishim/bin/pip")


def install(kind: str, *how: str) -> None:
    (wheel,) = (WHEELS / kind).glob("*.whl")
    where = ("--no-index", "--find-links", f"{WHEELS}/wheels")
    run(str(PIP), "install", "-q", *where, *how, str(wheel))


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def test_install(busybox_archive: Path) -> None:
    """README's commands, with the wheel of an earlier commit; the doctor finds nothing that must be mended."""
    run("python3", "-m", "venv", "/opt/crishim")
    install("before")
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
    story.begin(busybox_archive)
    assert "eth0" in crictl("exec", story.container, "ip", "addr")
    assert story.alive()


def test_upgrade(story: Story) -> None:
    """Another version of the package and a restart: the container is the same process, and can be entered."""
    install("now", "--force-reinstall", "--no-deps")
    install("now")  # what it needs and the one before did not
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
    assert story.runs()
    run("systemctl", "start", "crishim")
    assert story.alive()


def test_uninstall(story: Story) -> None:
    """docs/records.md: cleanup takes everything away, the container too."""
    run("systemctl", "disable", "--now", "crishim")
    run("crishim", "cleanup", "--apply", "--all")
    assert not story.runs()
    run("rm", "-r", "/opt/crishim", "/usr/local/bin/crishim", "/etc/systemd/system/crishim.service", "/etc/crishim")
    run("systemctl", "daemon-reload")
    left = [path for path in ("/run/crishim/pods", "/var/lib/crishim") if os.path.exists(path)]
    assert not left
