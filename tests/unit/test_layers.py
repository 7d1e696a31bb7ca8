"""Imports point down the layers of docs/design.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VOCABULARY = {
    *("errors", "lifecycle", "model", "config", "device_rules", "ids", "pb", "__init__"),
    *("decoding", "records", "signals"),
}
DRIVERS = {"cni", "engine", "images", "spec", "netdev", "cdi", "nri", "stats", "state"}
OPERATIONS = {"operations", "node"}
LAYER = (
    dict.fromkeys(VOCABULARY, 0)
    | {"linux": 1}
    | dict.fromkeys(DRIVERS, 2)
    | dict.fromkeys(OPERATIONS, 3)
    | {"cri": 4, "bundles": 0}
)
PURE = [
    *("decoding", "lifecycle", "records", "signals", "cni/format", "cdi/format", "images/image_config"),
    *(
        "images/reference",
        "cri/stream/http_upgrade",
        "cri/stream/portforward/protocol",
        "cri/stream/remotecommand/protocol",
    ),
    *(f"cri/stream/spdy/{name}" for name in ("session", "events", "frames", "headers", "outgoing", "state")),
    *(f"cri/stream/websocket/{name}" for name in ("protocol", "frames", "channel_codec")),
    *(f"nri/{name}" for name in ("mux", "ttrpc", "session")),
]
TOP = 5  # cli/ and __main__.py


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} if node.module != "crishim" else {f"crishim.{a.name}" for a in node.names}
    return {m for m in found if m == "crishim" or m.startswith("crishim.")}


def violations() -> list[str]:
    bad = []
    for path in sorted((ROOT / "crishim").rglob("*.py")):
        if "pb" in path.parts:
            continue
        here = room("crishim." + ".".join(path.relative_to(ROOT / "crishim").with_suffix("").parts))
        mine = LAYER.get(here, TOP)
        for module in imports(path):
            there = room(module)
            theirs = LAYER.get(there, TOP)
            if theirs > mine or (theirs == mine == 2 and here != there):
                bad.append(f"{path.relative_to(ROOT)} ({here}, layer {mine}) imports {module} (layer {theirs})")
    return bad


def test_no_import_points_up() -> None:
    """No module imports from a layer above its own, and no driver imports another driver."""
    assert violations() == []


@pytest.mark.parametrize("name", PURE)
def test_protocols_and_formats_touch_nothing(name: str) -> None:
    """They take bytes and give values or events: no asyncio, no file, no socket, no thread."""
    assert not outside((ROOT / f"crishim/{name}.py").read_text())


def outside(source: str) -> set[str]:
    """The modules a source imports that can touch the outside, in whatever form: also `from os import path`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found & {"asyncio", "os", "socket", "pathlib", "subprocess", "threading", "importlib"}


@pytest.mark.parametrize(
    "form", ["import os", "import os.path as p", "from os import path", "def f():\n import socket"]
)
def test_every_form_of_import_is_seen(form: str) -> None:
    assert outside(form)
