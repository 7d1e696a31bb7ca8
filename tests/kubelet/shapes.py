"""Short ways to write the pods the tests use."""

from typing import Any

from tests.support.daemon import IMAGE

Pod = dict[str, Any]
SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def shell(script: str = SLEEP, name: str = "main", **fields: Any) -> Pod:
    """A container that runs a shell script."""
    return {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", script], **fields}


def pod(*containers: Pod, **fields: Any) -> Pod:
    """A pod's spec; with no container given, one that sleeps."""
    return {"containers": list(containers) or [shell()], **fields}
