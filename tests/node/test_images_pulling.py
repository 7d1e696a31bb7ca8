"""`crishim images list`, and with --pulling while a real pull is held up half-way."""

import json
import threading
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, eventually, scratch_daemon
from tests.support.image_node import random_layer
from tests.support.image_node import registry as registry
from tests.support.image_node import registry_files as registry_files
from tests.support.registry import Registry

pytestmark = pytest.mark.node


def held(directory: Path, registry: Registry) -> dict[str, str]:
    """[images] settings with a skopeo that downloads a million bytes, and goes on when there is a file `go`."""
    conf, program = directory / "registries.conf", directory / "held-skopeo"
    conf.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    program.write_text(
        '#!/bin/sh\nhead -c 1000000 /dev/zero > "$TMPDIR/part"\n'
        f'while [ ! -e {directory}/go ]; do sleep 0.05; done\nexec skopeo "$@"\n'
    )
    program.chmod(0o755)
    return {"skopeo": str(program), "registries_conf": str(conf)}


def pulls(daemon: Daemon) -> list[dict[str, object]]:
    done = daemon.command("images", "list", "--pulling", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_list(tmp_path: Path, registry: Registry) -> None:
    """A pull under way is listed with what it has fetched and the registry's total, and then the image is."""
    registry.push(["test/held:1"], [random_layer(2)])
    name = f"{registry.address}/test/held:1"
    with scratch_daemon(images=held(tmp_path, registry)) as daemon:
        assert pulls(daemon) == []
        pull = threading.Thread(
            target=daemon.call, args=("PullImage",), kwargs={"image": {"image": name}, "deadline": 300}
        )
        pull.start()
        try:
            known = eventually(lambda: [p for p in pulls(daemon) if p["total"]], "the total is known")
            assert [(p["image"], p["fetched"]) for p in known] == [(name, 1_000_000)]
            assert 2_000_000 < int(str(known[0]["total"])) < 3_000_000
            table = daemon.command("images", "list", "--pulling").stdout.splitlines()
            assert table[0].split() == ["IMAGE", "SINCE", "FETCHED", "OF"]
            assert table[1].split()[0] == name
            assert name not in daemon.command("images", "list").stdout
        finally:
            (tmp_path / "go").touch()
            pull.join()
        assert pulls(daemon) == []
        assert name in daemon.command("images", "list").stdout
        listed = json.loads(daemon.command("images", "list", "--json").stdout)
        assert [image["names"] for image in listed] == [[name]]
        (line,) = [line for line in daemon.logged() if line["message"] == "image was pulled"]
        assert (line["image"], line["bytes"]) == (name, listed[0]["size"])
