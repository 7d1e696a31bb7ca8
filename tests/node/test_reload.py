"""SIGHUP: settings of a daemon that runs. And what it says of a host that cannot run pods."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.daemon import IMAGE, Daemon, eventually, scratch_daemon

pytestmark = pytest.mark.node


def reload(daemon: Daemon, settings: dict[str, object]) -> dict[str, object]:
    """Write settings, send SIGHUP; what the log says of it."""
    before = len(told(daemon))
    daemon.write_config(settings)
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGHUP)
    return eventually(lambda: told(daemon)[before:], "the daemon says what it did")[0]


def told(daemon: Daemon) -> list[dict[str, object]]:
    lines = (line for line in daemon.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, lines) if "reloaded" in line["message"]]


def in_force(daemon: Daemon) -> dict[str, dict[str, object]]:
    return json.loads(daemon.call("Status", verbose=True).info["config"])["settings"]  # type: ignore[no-any-return]


def test_sighup_reloads(busybox_archive: Path) -> None:
    """What can change under way does, and the daemon says what; of the rest it says that it waits for a restart."""
    with scratch_daemon() as daemon:
        assert daemon.command("images", "import", str(busybox_archive)).returncode == 0
        assert not daemon.call("ListImages").images[0].pinned
        said = reload(daemon, {"images": {"pinned": ["localhost/crishim/*"]}})
        assert said["changed"] == ["images.pinned"]
        (image,) = daemon.call("ListImages").images
        assert (image.pinned, IMAGE in image.repo_tags) == (True, True)
        assert in_force(daemon)["images"]["pinned"] == ["localhost/crishim/*"]
        rules = {"devices": ["none"], "namespaces": ["*"]}
        said = reload(daemon, {"netdevices": {"allow": [rules], "cdi_dirs": ["/x"]}, "runtimes": {"timeout": 7}})
        assert said["changed"] == ["netdevices.cdi_dirs", "netdevices.allow", "images.pinned"]
        waiting = eventually(
            lambda: [x for x in map(json.loads, daemon.log.read_text().splitlines()) if "settings" in x],
            "of what waits it is told as well",
        )
        assert waiting[-1]["settings"] == ["runtimes.timeout"]
        assert in_force(daemon)["runtimes"]["timeout"] == 120.0


def test_drop_ins_are_reloaded() -> None:
    """A file below config.d is read again too, and named where it cannot be used; `config show` tells of it."""
    with scratch_daemon() as daemon:
        drop_in = daemon.config.with_suffix(".d") / "50-images.toml"
        drop_in.parent.mkdir()
        drop_in.write_text('[images]\npinned = ["a"]\n')
        assert reload(daemon, {})["changed"] == ["images.pinned"]
        shown = daemon.command("config", "show").stdout
        assert f'pinned = ["a"]  # {drop_in}\n' in shown
        assert f'socket = "{daemon.socket}"  # {daemon.config}\n' in shown
        drop_in.write_text("colour = 1")
        assert f"{drop_in}: colour: unknown key" in str(reload(daemon, {})["why"])
        assert daemon.command("config", "check").stderr == f"crishim: {drop_in}: colour: unknown key\n"


def test_bad_settings_at_sighup() -> None:
    """They change nothing, and the log names the file and the key; the daemon goes on, also with the next SIGHUP."""
    with scratch_daemon() as daemon:
        before = in_force(daemon)
        said = reload(daemon, {"images": {"policy": "/no/policy"}})
        assert (said["level"], "images.policy: /no/policy" in str(said["why"])) == ("error", True)
        said = reload(daemon, {"colour": "red"})
        assert f"{daemon.config}: colour: unknown key" in str(said["why"])
        assert in_force(daemon) == before
        said = reload(daemon, {"log": {"level": "info", "format": "json"}})
        assert said["changed"] == ["log.level"]


def test_a_host_that_cannot_run_pods() -> None:
    """RuntimeReady is false, with what is wrong in the message."""
    with scratch_daemon(runtimes={"conmon": "/bin/true"}) as daemon:

        def unfit() -> str:
            runtime, _ = daemon.call("Status").status.conditions
            return "" if runtime.status else f"{runtime.reason}: {runtime.message}"

        assert eventually(unfit, "the daemon says so").startswith("HostNotFit: runtimes.conmon: /bin/true is no conmon")
        assert daemon.command("doctor").returncode == 1
    with scratch_daemon(["setpriv", "--bounding-set=-mknod"]) as daemon:
        assert eventually(unfit, "the daemon says so") == "HostNotFit: crishim lacks CAP_MKNOD"
