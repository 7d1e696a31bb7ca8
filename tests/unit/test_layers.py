"""Imports point down the layers of docs/design.md."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VOCABULARY = {
    *("errors", "lifecycle", "model", "config", "config_paths", "device_rules", "ids", "pb", "__init__"),
    *("decoding", "records", "signals", "sysctls", "config_values", "config_files", "histograms", "tracing", "traces"),
}
DRIVERS = {"cni", "engine", "images", "spec", "netdev", "cdi", "nri", "stats", "state", "otlp"}
OPERATIONS = {"operations", "node", "base_node", "fitness"}
LAYER = (
    dict.fromkeys(VOCABULARY, 0)
    | {"linux": 1}
    | dict.fromkeys(DRIVERS, 2)
    | dict.fromkeys(OPERATIONS, 3)
    | {"cri": 4, "bundles": 0}
)
PURE = [
    *(
        "decoding",
        "lifecycle",
        "records",
        "signals",
        "sysctls",
        "config_values",
        "cni/format",
        "cdi/format",
        "images/image_config",
    ),
    *(
        "images/reference",
        "cri/stream/http_upgrade",
        "cri/stream/portforward/protocol",
        "cri/stream/remotecommand/protocol",
    ),
    *(f"cri/stream/spdy/{name}" for name in ("session", "events", "frames", "headers", "outgoing", "state")),
    *(f"cri/stream/websocket/{name}" for name in ("protocol", "frames", "channel_codec")),
    *(f"nri/{name}" for name in ("mux", "ttrpc", "session", "adjustments", "adjusted", "owners", "resources")),
    *(f"nri/{name}" for name in ("updates", "validator", "answer_checks")),
    *(
        f"cli/page/{name}"
        for name in ("markup", "device_states", "facts", "history", "picture", "sections", "document", "answers")
    ),
]
TOP = 5  # cli/ and __main__.py
TESTS_OF_HACK = (
    "tests/unit/hack/",
    "tests/node/test_campaign.py",
    "tests/node/test_tour.py",
    "tests/machine/test_dra.py",
)


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


def imported(path: Path) -> set[str]:
    """Every module that a file imports, by whatever form: also `from tests import node`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def scripts(folder: str) -> list[Path]:
    """The Python files of a folder, with those of hack/ that have no suffix."""
    found = (ROOT / folder).rglob("*")
    return [
        p for p in found if p.suffix == ".py" or (p.is_file() and p.read_bytes().startswith(b"#!/usr/bin/env python"))
    ]


def may_import(name: str, module: str) -> bool:
    """Whether a file of tests/ or hack/ may import a module of either."""
    top, _, rest = module.partition(".")
    folder = rest.partition(".")[0]
    if top == "hack":
        return name.startswith(("hack/", *TESTS_OF_HACK))
    if top == "tests" and folder:
        above = name.startswith("tests/") and not name.startswith("tests/support/")
        return folder == "support" or above or (folder == "fuzz" and name.startswith("hack/"))
    return True


def test_tests_and_scripts_share_only_the_library_below_them() -> None:
    """tests/ never imports hack/, but to test it; hack/ imports tests/support and the fuzz targets; support neither."""
    bad = []
    for path in [*scripts("tests"), *scripts("hack")]:
        name = path.relative_to(ROOT).as_posix()
        bad += [f"{name} imports {module}" for module in imported(path) if not may_import(name, module)]
    assert bad == []
