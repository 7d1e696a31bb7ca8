"""The example DRA driver (hack/dra) on a node of a cluster."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.daemon import eventually, test_program
from tests.support.kubelet.place import NAME

_ROOT = Path(__file__).parents[3]


class Driver:
    """directory: the node's. control: the control plane's, where the log is too. inside: see Place."""

    def __init__(self, directory: Path, control: Path, name: str = NAME, inside: Sequence[str] = ()) -> None:
        self._command = [*inside, *driver_command(directory, control, name)]
        self._control = control
        self.log = control / f"dra-driver-{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, pattern: str, *flags: str) -> None:
        """Offer the links that match; returns when the kubelet knows the driver."""
        allow_driver(self._control / "pki/admin.kubeconfig")
        command = [*self._command, f"--pattern={pattern}", "--period=0.5", *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=_ROOT)
        before = self.log.stat().st_size

        def registered() -> bool:
            assert self.process is not None
            said = self.log.read_bytes()[before:]
            assert self.process.poll() is None, said[-2000:].decode()
            return b"registered True" in said

        eventually(registered, "the driver is registered", 120)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


def allow_driver(administrator: Path) -> None:
    """Give the driver's user its rights, and make its DeviceClass."""
    rights = str(_ROOT / "hack/dra/rbac.yaml")
    command = [test_program("kubectl"), f"--kubeconfig={administrator}", "apply", "-f", rights]
    subprocess.run(command, check=True, capture_output=True)


def driver_command(directory: Path, control: Path, name: str) -> list[str]:
    """How the driver of a node is started, but for --pattern."""
    command = [sys.executable, "-m", "hack.dra.driver", f"--node={name}"]
    command += [f"--kubeconfig={control}/pki/dra-driver.kubeconfig"]
    return [*command, f"--kubelet-dir={directory}/kubelet", f"--cdi-dir={directory}/{directory.name}/cdi"]
