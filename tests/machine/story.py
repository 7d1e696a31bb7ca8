"""An installed crishim and what runs under it: commands as an administrator gives them, a pod that outlives daemons."""

import json
import os
import subprocess
from pathlib import Path

from tests.support.daemon import IMAGE, test_program

EXAMPLES = Path(__file__).parents[2] / "packaging/examples"
# Not that of the tests: the installed package is to be found, not the tree.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}


def run(*command: str, check: bool = True, timeout: float = 1000) -> str:
    """A command's output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, env=ENVIRONMENT)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def crictl(*arguments: str) -> str:
    return run(test_program("crictl"), "--timeout=120s", *arguments).strip()


def prop(name: str) -> str:
    """What systemd says of the daemon's unit."""
    return run("systemctl", "show", "--value", "-p", name, "crishim").strip()


class Story:
    """Its pod, its container, the container's process."""

    pod = container = ""
    pid = 0

    def begin(self, archive: Path) -> None:
        """Import the image and start the README's pod with it."""
        run("crishim", "images", "import", str(archive))
        sandbox = str(EXAMPLES / "pod.json")
        container = json.loads((EXAMPLES / "container.json").read_text())
        container["image"] = {"image": IMAGE}
        Path("/root/container.json").write_text(json.dumps(container))
        self.pod = crictl("runp", sandbox)
        self.container = crictl("create", self.pod, "/root/container.json", sandbox)
        crictl("start", self.container)
        self.pid = json.loads(crictl("inspect", self.container))["info"]["pid"]

    def runs(self) -> bool:
        """The same process, whether a daemon runs or not."""
        return os.path.exists(f"/proc/{self.pid}")

    def alive(self) -> bool:
        """The same process, and the daemon knows it."""
        status = json.loads(crictl("inspect", self.container))
        return self.runs() and status["status"]["state"] == "CONTAINER_RUNNING"
