"""README's way to a first pod, pasted as it stands into a root shell on directories that hold nothing of crishim yet.

What a machine of tests lacks is put in its place: packages are there, the checkout instead of a virtual environment,
`crishim serve &` for systemd (as README says), and an archive for the registry.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.linux import cgroups
from tests.support import daemon

pytestmark = pytest.mark.node
ROOT = Path(__file__).parents[2]
PLACES = ("/etc", "/usr/local", "/var/log")
START = """set -eu
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
mount -t tmpfs tmpfs {base}
for place in {places}; do
    mkdir -p {base}$place/up {base}$place/work
    mount -t overlay overlay -o lowerdir=$place,upperdir={base}$place/up,workdir={base}$place/work $place
done
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mkdir -p /usr/local/bin
cat > /usr/local/bin/crishim <<'END'
#!/bin/sh
PYTHONPATH={root} exec {python} -m crishim "$@"
END
chmod 755 /usr/local/bin/crishim
ln -s {crictl} /usr/local/bin/crictl
PATH=/usr/local/bin:$PATH
"""
SERVE = """crishim serve > /run/log 2>&1 &
for attempt in $(seq 300); do crictl info > /run/info 2>&1 && break; sleep 0.1; done
skopeo copy -q --insecure-policy oci-archive:{archive} docker-archive:/run/busybox.tar:docker.io/library/busybox:1.36
crishim images import /run/busybox.tar
"""
TRIED = """bash -c 'source /etc/bash_completion.d/crishim; complete -p crishim'
! command -v man || man -w crishim
"""
END = """crishim cleanup > /run/left || true
kill %1; wait %1
crishim cleanup --apply --all > /run/uninstalled
"""


def blocks() -> list[str]:
    """The shell blocks of "Running it"."""
    section = (ROOT / "README.md").read_text().partition("## Running it\n")[2].partition("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def test_the_first_pod(tmp_path: Path, busybox_archive: Path) -> None:
    """Every line holds: settings, network, doctor's question, a daemon, a pod with eth0, its log, and its end."""
    install, venv, settings, unit, pod, completion = blocks()
    assert install.startswith("apt-get install ")
    assert "pip install ." in venv
    assert "systemctl enable --now crishim" in unit
    assert re.search(r"^ExecStart=(\S+) serve$", (ROOT / "packaging/crishim.service").read_text(), re.M)[1] in venv  # type: ignore[index]
    facts = {"base": tmp_path, "places": " ".join(PLACES), "root": ROOT, "python": sys.executable}
    facts |= {"crictl": os.path.realpath(daemon.test_program("crictl")), "archive": busybox_archive}
    settings = settings.replace("crishim doctor\n", "crishim doctor || test $? = 1\n")  # cgroups here may be a hybrid
    assert "crictl pull docker.io/library/busybox:1.36\n" in pod
    written = "until grep -q hello /var/log/crishim-first/main.log; do sleep 0.1; done\n"  # a machine may be slow
    pod = pod.replace("crictl logs", f"{written}crictl logs")
    script = (
        START.format(**facts) + settings + SERVE.format(**facts) + pod.partition("\n")[2] + completion + TRIED + END
    )
    command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=110)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "level=warning" not in done.stderr  # crictl's
    assert "/etc/crishim/config.toml is good\n" in done.stdout
    assert re.search(r"^\s+inet 10\.88\.[0-9.]+/16 ", done.stdout, re.M), done.stdout
    assert "hello from first\n" in done.stdout
    assert "Removed sandbox" in done.stdout
    assert re.search(r"^complete .* crishim$", done.stdout, re.M), done.stdout
    assert "/man/man8/crishim.8\n" in done.stdout or not shutil.which("man")
    subprocess.run(["ip", "link", "delete", "crishim0"], check=True)  # cleanup leaves a network's bridge
    assert cgroups.directories("/crishim") == []
