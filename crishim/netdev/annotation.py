"""Devices asked for by annotation: JSON in the shape of the OCI runtime spec's linux.netDevices."""

from collections.abc import Mapping

from crishim.netdev.records import Request

POD_KEY = "netdevices.crishim.io/pod"
CONTAINER_KEY = "netdevices.crishim.io/container"


def parse(key: str, text: str) -> list[Request]:
    """Requests of one annotation: {"demo0": {"name": "net1"}, "demo1": {}}. Raises INVALID, naming key and place."""
    raise NotImplementedError


def requests(pod: Mapping[str, str], container: Mapping[str, str]) -> list[Request]:
    """Requests of a pod's and a container's annotations, the pod's first. Raises INVALID."""
    raise NotImplementedError
