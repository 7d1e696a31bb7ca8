"""The node a campaign is played on: scratch directories, namespaces of its own, real parts, a registry on loopback."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon
from tests.support.isolation import ip, remove_link
from tests.support.registry import Registry, serve

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory on a tmpfs, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="crishim-campaign-", dir="/dev/shm") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@contextlib.contextmanager
def a_registry() -> Iterator[Registry]:
    with scratch() as files, serve(files, files / "content") as address:
        yield Registry(address, files)


def busybox(directory: Path) -> Path:
    """An OCI archive of the busybox image."""
    path = directory / "busybox.tar"
    script = ROOT / "hack/build-images"
    subprocess.run([sys.executable, str(script), "--demo", str(path)], check=True, capture_output=True)
    return path


@contextlib.contextmanager
def a_node(registry: Registry | None = None, kind: type[Daemon] = Daemon, **settings: Any) -> Iterator[Daemon]:
    """A running daemon with the busybox image, which trusts the registry; gone afterwards, whatever state it is in."""
    directory = Path(tempfile.mkdtemp(prefix="crishim-campaign-", dir="/dev/shm"))
    directory.chmod(0o711)
    if registry is not None:
        conf = directory / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
        settings["images"] = {"registries_conf": str(conf), **settings.get("images", {})}
    daemon = kind(directory, settings)
    try:
        daemon.start()
        with scratch() as files:
            done = daemon.command("images", "import", str(busybox(files)))
        assert done.returncode == 0, done.stderr
        yield daemon
    finally:
        daemon.delete()


class Device:
    """A host device to give away: a veth with addresses, whose peer stays on the host."""

    def __init__(self, number: int) -> None:
        self.name, self.peer = f"camp{number}", f"peer{number}"
        ip("link", "add", self.name, "mtu", "1400", "type", "veth", "peer", "name", self.peer)
        ip("addr", "add", f"10.78.{number}.1/24", "dev", self.name)
        ip("-6", "addr", "add", f"fd78:{number}::1/64", "dev", self.name, "nodad")
        ip("link", "set", self.peer, "up")
        ip("link", "set", self.name, "up")
        self.addresses = (f"10.78.{number}.1/24", f"fd78:{number}::1/64")

    def differs(self) -> str:
        """What of the device is not on the host as it was; "" if all is."""
        try:
            shown = ip("addr", "show", "dev", self.name)
        except AssertionError as error:
            return f"{self.name}: {error}"
        wanted = (*self.addresses, "UP", "mtu 1400")
        missing = [w for w in wanted if w not in shown]
        return f"{self.name} came back without {', '.join(missing)}: {shown}" if missing else ""

    def remove(self) -> None:
        remove_link(self.name)
        remove_link(self.peer)
