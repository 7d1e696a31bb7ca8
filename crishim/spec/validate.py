"""Checks requests before anything is made for them: lists of independent checks, of which the first problem is raised.

What needs the host (whether a path exists, a profile is loaded) is left to the editors and to mounts.resolve().
"""

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec.container_checks import CONTAINER_CHECKS
from crishim.spec.pod_checks import POD_CHECKS


def check_pod(config: cri.PodSandboxConfig) -> None:
    """Raise INVALID with the first thing that is wrong with a RunPodSandbox request."""
    for rule in POD_CHECKS:
        problem = rule(config)
        if problem:
            raise CrishimError(Kind.INVALID, f"pod {config.metadata.name or '?'}: {problem}")


def check_container(config: cri.ContainerConfig, pod: cri.PodSandboxConfig) -> None:
    """Raise INVALID with the first thing that is wrong with a CreateContainer request in this pod."""
    for rule in CONTAINER_CHECKS:
        problem = rule(config, pod)
        if problem:
            raise CrishimError(Kind.INVALID, f"container {config.metadata.name or '?'}: {problem}")
