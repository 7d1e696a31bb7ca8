"""`crishim doctor` on a machine as production has it."""

from tests.support.daemon import Daemon


def test_nothing_fails(daemon: Daemon) -> None:
    """With each cgroup driver: no FAIL, and it has found cgroup v2."""
    done = daemon.command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert any(line.split()[:3] == ["ok", "cgroups", "v2"] for line in done.stdout.splitlines()), done.stdout
