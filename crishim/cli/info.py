"""`crishim info`: the running daemon's version, conditions, main settings, and numbers of pods, containers, images."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from crishim.cli.client import fail, plain, print_json, size
from crishim.cli.cri_client import CriClient, connect_cri
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import cri_pb2 as cri

Line = tuple[str, str]


def show(config: Config, *, as_json: bool) -> int:
    """Print the lines; returns 1 if no daemon answers."""
    try:
        with connect_cri(config) as client:
            lines = [("socket", config.socket), *_node(client), *_counts(client)]
    except CrishimError as error:
        return fail(error.message)
    if as_json:
        return print_json([dict(lines)])
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {plain(value)}")  # noqa: T201
    return 0


def _node(client: CriClient) -> list[Line]:
    version = client.call("Version", cri.VersionRequest(), cri.VersionResponse)
    answer = client.call("Status", cri.StatusRequest(verbose=True), cri.StatusResponse)
    lines = [("version", f"{version.runtime_version}, CRI {version.runtime_api_version}")]
    for condition in answer.status.conditions:
        state = "yes" if condition.status else f"no: {condition.message or condition.reason}"
        lines.append((condition.type, state))
    settings = json.loads(answer.info["config"])["settings"]
    lines += [(name, str(settings[name])) for name in ("state_dir", "run_dir")]
    lines.append(("cgroup driver", settings["runtimes"]["cgroup_driver"]))
    return [*lines, ("handlers", ", ".join(_handler(h, settings) for h in answer.runtime_handlers if h.name))]


def _handler(handler: cri.RuntimeHandler, settings: dict[str, Any]) -> str:
    """ "runc (default, user namespaces, recursive read-only mounts)"."""
    facts = {
        "default": handler.name == settings["runtimes"]["default"],
        "user namespaces": handler.features.user_namespaces,
        "recursive read-only mounts": handler.features.recursive_read_only_mounts,
    }
    words = ", ".join(word for word, is_so in facts.items() if is_so)
    return f"{handler.name} ({words})" if words else handler.name


def _counts(client: CriClient) -> list[Line]:
    pods = client.call("ListPodSandbox", cri.ListPodSandboxRequest(), cri.ListPodSandboxResponse).items
    containers = client.call("ListContainers", cri.ListContainersRequest(), cri.ListContainersResponse).containers
    images = client.call("ListImages", cri.ListImagesRequest(), cri.ListImagesResponse).images
    return [
        ("pods", by_state(cri.PodSandboxState.Name(p.state).removeprefix("SANDBOX_") for p in pods)),
        ("containers", by_state(cri.ContainerState.Name(c.state).removeprefix("CONTAINER_") for c in containers)),
        ("images", f"{len(images)}, {size(sum(image.size for image in images))}"),
    ]


def by_state(states: Iterable[str]) -> str:
    """ "3: 2 ready, 1 notready"; "none"."""
    counts = Counter(state.lower() for state in states)
    each = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return f"{counts.total()}: {each}" if each else "none"
