"""hack/vm without a machine: its command lines, its table, and that it deletes nothing of the host's."""

import subprocess
from pathlib import Path

import pytest

from crishim.linux import mounts
from hack.machine import guest, image, needs, qemu, trial

REPORT = """<testsuites><testsuite>
<testcase classname="tests.machine.test_service" name="a" time="2.4"/>
<testcase classname="tests.machine.test_service" name="b" time="1.2"><failure message="no"/></testcase>
<testcase classname="tests.machine.test_apparmor" name="c" time="0"><skipped message="no parser"/></testcase>
</testsuite></testsuites>"""


def test_the_table_counts_by_file() -> None:
    """Passed, failed, skipped with the reason, seconds."""
    assert trial.table("x", REPORT) == [
        "| x | machine.test_service | 1 | 1 | 0 | 3 |",
        "| x | machine.test_apparmor | 0 | 0 | 1 (no parser) | 0 |",
    ]


def test_a_command_comes_to_the_guest_as_it_is() -> None:
    """Several words are words there, too; one is a line of shell."""
    environment = "export PATH=/bin:/usr/bin; "
    for argv, printed in ((["printf", "%s,", "a b", "$HOME"], "a b,$HOME,"), (["printf '%s,' a b"], "a,b,")):
        line = guest.shell_line(argv).partition("cd /work; ")[2]
        done = subprocess.run(["sh", "-c", environment + line], capture_output=True, text=True, check=True)
        assert done.stdout == printed


def test_only_loopback_reaches_the_guest() -> None:
    """ssh is forwarded from 127.0.0.1 alone; the tree and the cache are shared read-only; the disk is a snapshot."""
    argv = qemu.command("tcg", 2222)
    assert "user,id=host,hostfwd=tcp:127.0.0.1:2222-:22" in argv
    assert all("readonly=on" in a for a in argv if a.startswith("local,"))
    assert any(a.startswith("file=/guest/disk") and "snapshot=on" in a for a in argv)


def test_what_the_guest_is_made_of_is_in_its_name() -> None:
    """Other parts, another name; where one text ends counts."""
    assert image.key("ab", "c") == image.key("ab", "c") != image.key("a", "bc")


def test_the_guest_gets_the_packages_of_the_project() -> None:
    """What runs, what tests, what builds the wheel."""
    wanted = image.requirements((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert {"hatchling"} < {name.partition(">=")[0] for name in wanted}
    assert any(name.startswith("grpcio>=") for name in wanted)
    assert any(name.startswith("pytest>=") for name in wanted)


def test_a_tree_with_a_mount_in_it_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount of the host's /dev would be emptied with it."""
    (tmp_path / "new/root/dev").mkdir(parents=True)
    (tmp_path / "new/root/dev/null").write_text("")
    monkeypatch.setattr(mounts, "below", lambda directory: [f"{directory}/root/dev"])
    with pytest.raises(needs.Missing, match="is mounted"):
        image.remove(tmp_path / "new")
    assert (tmp_path / "new/root/dev/null").exists()
    monkeypatch.undo()
    image.remove(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_missing_is_one_line() -> None:
    """A program that is not there, one that fails: its last line."""
    with pytest.raises(needs.Missing, match=r"^no nothing-such$"):
        needs.run(["nothing-such"])
    with pytest.raises(needs.Missing, match=r"^sh failed: second$"):
        needs.run(["sh", "-c", "echo first >&2; echo second >&2; exit 1"])


def test_every_test_of_the_guest_runs() -> None:
    """Each file of tests/machine is named by the whole; the short form's are files that are there."""
    tree = Path(__file__).parents[3]
    files = {str(path.relative_to(tree)) for path in (tree / "tests/machine").glob("test_*.py")}
    named = {word for run in trial.chosen([]) for word in run.argv if word.startswith("tests/")}
    assert files <= named
    short = {word for run in trial.chosen(["--short"]) for word in run.argv if word.startswith("tests/")}
    assert short
    assert short <= named
    assert trial.chosen(["-k", "x"])[0].argv[-2:] == ("-k", "x")
