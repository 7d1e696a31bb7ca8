"""The Debian package (packaging/debian): installed, removed under a running container, installed again, purged.

The tests are one story and run in their order.
"""

from pathlib import Path

import pytest

from tests.machine.story import EXAMPLES, Story, crictl, prop, run

DIST = Path("/cache/vm/dist/deb")  # hack/vm test builds it
SETTINGS = Path("/etc/crishim/config.toml")
FILES = (
    *("/usr/bin/crishim", "/usr/share/man/man8/crishim.8.gz", "/usr/share/bash-completion/completions/crishim"),
    *("/usr/share/zsh/vendor-completions/_crishim", "/usr/share/fish/vendor_completions.d/crishim.fish"),
)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story()


def install() -> None:
    (package,) = DIST.glob("crishim_*.deb")
    run("dpkg", "--install", str(package))


def test_install(story: Story, busybox_archive: Path) -> None:
    """Its dependencies are the packages that the README names; the daemon is started, and a pod runs."""
    Path("/etc/cni/net.d").mkdir(parents=True, exist_ok=True)
    run("cp", str(EXAMPLES / "10-crishim.conflist"), "/etc/cni/net.d/")
    run("cp", str(EXAMPLES.parent / "crictl.yaml"), "/etc/crictl.yaml")
    install()
    assert all(Path(file).exists() for file in FILES)
    assert f" {SETTINGS} " in run("dpkg-query", "--show", "--showformat=${Conffiles}", "crishim")
    assert (prop("ActiveState"), prop("UnitFileState")) == ("active", "enabled")
    assert "FAIL" not in run("crishim", "doctor")
    story.begin(busybox_archive)
    assert story.alive()


def test_remove(story: Story) -> None:
    """The daemon stops, its code goes, what was compiled of it too; the container and the settings stay."""
    SETTINGS.write_text(f"{SETTINGS.read_text()}# of this node\n")
    run("dpkg", "--remove", "crishim")
    assert prop("ActiveState") == "inactive"
    assert story.runs()
    assert not Path("/usr/lib/crishim").exists()
    assert SETTINGS.exists()


def test_install_again(story: Story) -> None:
    """The new daemon knows the container; the node's own settings are as they were."""
    install()
    assert prop("ActiveState") == "active"
    assert story.alive()
    assert crictl("exec", story.container, "echo", "hello") == "hello"
    assert SETTINGS.read_text().endswith("# of this node\n")


def test_purge(story: Story) -> None:
    """After docs/upgrading.md's commands nothing is left, the settings neither."""
    run("systemctl", "stop", "crishim")
    run("crishim", "cleanup", "--apply", "--all")
    run("dpkg", "--purge", "crishim")
    assert not story.runs()
    assert not any(
        Path(path).exists() for path in (SETTINGS, "/usr/lib/crishim", "/var/lib/crishim", "/run/crishim/pods")
    )
