"""Image registries on loopback for the node tests: Debian's docker-registry, its content on a tmpfs, ended by its pid.

    registry        anyone may pull and push
    locked_registry the same content, for USER and PASSWORD only

Both live for the whole session. Import the fixtures where they are used (`from registry import registry`): pytest's
importlib mode has no conftest for a single directory's plugins.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support import oci_layout
from tests.support.eventually import PATIENCE

USER, PASSWORD = "puller", "right-password"
# bcrypt of PASSWORD at its lowest cost; anybody may know it.
HTPASSWD = f"{USER}:$2b$04$9NSq5hZ6RkKKDykgA8yfjOejacv3wTP6bhBxMH5OmoHzRHbG6flcu\n"


class Registry:
    """A registry that serves. address: HOST:PORT."""

    def __init__(self, address: str, work: Path) -> None:
        self.address = address
        self._work = work

    def push(
        self,
        names: Sequence[str],
        layers: Sequence[bytes],
        config: Mapping[str, object] | None = None,
        *,
        index: bool = False,
    ) -> str:
        """Push an image of tar layers under each NAME[:TAG]; with index, behind a one-platform index. Its digest."""
        with tempfile.TemporaryDirectory(dir=self._work) as scratch:
            layout = oci_layout.Layout(Path(scratch))
            descriptor = layout.manifest(layers, config)
            if index:
                platform = {"os": "linux", "architecture": oci_layout.machine()}
                descriptor = layout.index([{**descriptor, "platform": platform}])
            layout.name(descriptor, "it")
            for name in names:
                copy = ["skopeo", "copy", "-q", "--all", "--insecure-policy", "--dest-tls-verify=false"]
                subprocess.run([*copy, f"oci:{scratch}:it", f"docker://{self.address}/{name}"], check=True)
        return str(descriptor["digest"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serve(work: Path, content: Path, *, htpasswd: Path | None = None) -> Iterator[str]:
    """Run docker-registry on a free loopback port; its address."""
    address = f"127.0.0.1:{free_port()}"
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(content)}, "delete": {"enabled": True}},
        "http": {"addr": address},
    }
    if htpasswd:
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
    config = work / f"registry-{address.rpartition(':')[2]}.yml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_ready(f"http://{address}/v2/", process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 20 * PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as error:
            error.close()
            return  # it wants a password: it serves
        except OSError:
            time.sleep(0.01)
    raise AssertionError(f"docker-registry does not answer: {log.read_text()}")


@pytest.fixture(scope="session")
def registry_files() -> Iterator[Path]:
    assert shutil.which("docker-registry"), "docker-registry is missing: apt-get install docker-registry"
    with tempfile.TemporaryDirectory(prefix="crishim-registry-", dir="/dev/shm") as work:
        yield Path(work)


@pytest.fixture(scope="session")
def registry(registry_files: Path) -> Iterator[Registry]:
    with serve(registry_files, registry_files / "content") as address:
        yield Registry(address, registry_files)


@pytest.fixture(scope="session")
def locked_registry(registry_files: Path, registry: Registry) -> Iterator[str]:
    """Its address. What is pushed to `registry` is there too: they share their files."""
    passwords = registry_files / "htpasswd"
    passwords.write_text(HTPASSWD)
    with serve(registry_files, registry_files / "content", htpasswd=passwords) as address:
        yield address
