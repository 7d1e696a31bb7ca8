"""What docs/tour.md shows of a run, as text: records, requests, processes, files."""

import base64
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ELIDED = {"config": "<the request, base64>", "conflist": "<the list, base64>", "result": "<see below, base64>"}
# Of a device as it was captured: the rest depends on kernel and driver.
CAPTURED = ("index", "name", "kind", "mtu", "mac", "flags")
TOLD = ("network device ", "pod ", "container ")  # beside these the watchers tell of links, when they see them
ATTACHMENT = ("schema", "id", "pod", "state", "mover", "sources", "wanted", "name", "index", "addresses")


def run(*argv: str | Path) -> str:
    """A program's output; raises if it fails."""
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


def pretty(value: Any) -> str:
    """JSON with its short lists and objects on one line."""
    text = json.dumps(value, indent=2)
    return re.sub(r"([\[{])\s+([^\[\]{}]{1,80}?)\s+([\]}])", lambda m: m[1] + re.sub(r"\n\s+", " ", m[2]) + m[3], text)


def record(path: Path) -> dict[str, Any]:
    """A record as it is on disk, without what is empty; the long values in base64 are named or, if JSON, decoded."""
    found = json.loads(path.read_text())
    network = found.get("network") or {}
    if network.get("capability_args"):
        network["capability_args"] = json.loads(base64.b64decode(network["capability_args"]))
    for place in (found, network):
        place.update({key: text for key, text in ELIDED.items() if place.get(key)})
    return {key: value for key, value in found.items() if value not in ("", [], {}, None, False)}


def attachment(path: Path) -> dict[str, Any]:
    """A journal entry, without what depends on kernel and driver."""
    found = json.loads(path.read_text())
    host = {key: found["host"][key] for key in CAPTURED}
    host |= {"mac": "<mac, base64>", "index": "<ifindex>"}
    found["index"] = "<ifindex>"
    return {key: found[key] for key in ATTACHMENT} | {"host": host, "identity": {"kind": found["identity"]["kind"]}}


def tree(known: Mapping[int, str]) -> str:
    """Processes with their parents, as ps(1) shows them: pid -> name to show it by. Any other parent is <init>."""
    lines = [f"{'PID':10} {'PPID':10} COMMAND"]
    for pid, name in known.items():
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        parent = known.get(int(fields["PPid"]))
        indent = "\\_ " if parent else ""
        lines.append(f"{name:10} {parent or '<init>':10} {indent}{fields['Name']}")
    return "\n".join(lines)


def request(directory: Path, command: str) -> str:
    """What a recording plugin was given: environment, and standard input."""
    environment = (directory / f"{command}.env").read_text()
    return environment + pretty(json.loads((directory / f"{command}.stdin").read_text()))


def story(lines: Sequence[dict[str, Any]], rpc: str, steps: bool = False) -> str:
    """The log of a call: lines at info, and if asked the steps it was timed by."""
    shown = []
    keys = ("device", "interface", "mover", "before", "addresses", "container_name", "image", "code", "reason", "step")
    for line in lines:
        told = line["level"] == "info" and line["message"].startswith(TOLD)
        if line.get("rpc", rpc) != rpc or not (told or (steps and line["message"] == "step")):
            continue
        facts = " ".join(f"{key}={json.dumps(line[key])}" for key in keys if line.get(key) not in (None, ""))
        shown.append(f"{line['level']:5} {line['logger']:18} {line['message']}  {facts}".rstrip())
    return "\n".join(shown)


def files(directory: Path) -> str:
    """What is in a directory, as ls -li has it, without the total."""
    return "\n".join(run("ls", "-li", directory).splitlines()[1:])
