"""What the guest installs: wheels of the tree and of a commit before it, to upgrade from; the Debian package."""

import subprocess
import sys
import tempfile
from pathlib import Path

from hack.machine.image import PYTHON, remove, wheels
from hack.machine.needs import run, say

_BACK = 20  # commits, where there is no release to take


def build(tree: Path, directory: Path) -> None:
    """now/ and before/ in directory, one wheel each; wheels/ is what they need; deb/, the package."""
    remove(directory)
    directory.mkdir(parents=True)
    needed = wheels(directory.parent, tree)
    (directory / "wheels").symlink_to(Path("..") / needed.name)
    _wheel(tree, directory / "now")
    before = earlier(tree)
    say(f"wheels: of the tree, and of {before[:12]} to upgrade from")
    with tempfile.TemporaryDirectory(prefix="crishim-vm-") as scratch:
        archive = subprocess.run(["git", "-C", str(tree), "archive", before], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", scratch], input=archive, check=True)
        _wheel(Path(scratch), directory / "before")
    say("the Debian package")
    deb = [str(tree / "hack/deb"), "--python", PYTHON, "--wheels", str(needed), str(directory / "deb")]
    run(deb, name="hack/deb")


def earlier(tree: Path) -> str:
    """The commit of the newest release tag, else one some way back."""
    git = ["git", "-C", str(tree)]
    tags = run([*git, "tag", "--merged", "HEAD~1", "--sort=-creatordate", "--list", "v*"]).split()
    if tags:
        return run([*git, "rev-parse", f"{tags[0]}^{{commit}}"]).strip()
    return run([*git, "rev-list", f"--max-count={_BACK + 1}", "--first-parent", "HEAD"]).split()[-1]


def _wheel(source: Path, directory: Path) -> None:
    directory.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(directory)]
    run([*command, str(source)])
