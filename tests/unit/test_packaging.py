"""The wheel holds all that runs, and its command works without the checkout; the Debian package agrees."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, unpacked where an installation would put it."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(directory),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(directory / "site")
    return directory / "site"


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "crishim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")


def test_the_command_runs_from_the_wheel(installed: Path) -> None:
    """`crishim config default` prints settings that parse."""
    done = run(installed, "config", "default")
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["socket"] == "/run/crishim/crishim.sock"


def test_bundles_and_generated_code_are_in_the_wheel(installed: Path) -> None:
    """What the daemon reads at run time comes along, and so do the unit and crictl's settings."""
    source = (
        "from crishim.spec import bundle; from crishim.pb import cri_pb2; print(len(bundle.base()), bundle.directory())"
    )
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False, env=environment, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert str(installed / "crishim/bundles") in done.stdout
    assert {p.suffix for p in (installed / "crishim/cli/page").iterdir()} >= {".css", ".js", ".svg"}
    names = {p.name for p in installed.rglob("share/crishim/*")}
    assert names == {"crishim.service", "crictl.yaml"}


def test_there_is_a_console_command(installed: Path) -> None:
    """An installation gives the command crishim."""
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "crishim = crishim.__main__:main" in entry.read_text()


DEBIAN = ROOT / "packaging/debian"


def test_the_debian_package_has_the_trees_version() -> None:
    """debian/changelog begins with pyproject.toml's."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (DEBIAN / "changelog").read_text().startswith(f"crishim ({version}) ")


def test_the_debian_package_depends_on_what_the_readme_installs() -> None:
    """Package by package; python3-venv alone is for the other way."""
    (line,) = re.findall(r"^apt-get install (.*)$", (ROOT / "README.md").read_text(), re.M)
    (depends,) = re.findall(r"^Depends: (.*(?:\n .*)*)", (DEBIAN / "control").read_text(), re.M)
    named = set(re.findall(r"[a-z][a-z0-9-]+", re.sub(r"\$\{[^}]*\}", "", depends)))
    assert set(line.split()) - {"python3-venv"} <= named


def test_the_debian_package_starts_what_it_installs() -> None:
    """Its rules change the unit's path to that of the launcher, and all that they install is there."""
    unit, rules = (ROOT / "packaging/crishim.service").read_text(), (DEBIAN / "rules").read_text()
    assert unit.startswith("# ")
    assert "\nExecStart=/usr/local/bin/crishim " in unit
    assert "s|/usr/local/bin/crishim|/usr/bin/crishim|" in rules
    made = [line.split()[0] for name in ("install", "manpages") for line in listed(name)]
    assert all(f"> {path}\n" in rules for path in made)
    assert all((ROOT / path).exists() for name in ("docs", "examples") for path in listed(name))


def listed(name: str) -> list[str]:
    """The lines of one of debhelper's lists."""
    return (DEBIAN / f"crishim.{name}").read_text().splitlines()
