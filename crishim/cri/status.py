"""The RPCs of the runtime as a whole: version, status, configuration."""

import ipaddress
import json

import crishim
from crishim.cri.describe import describe_handlers, describe_node
from crishim.errors import CrishimError, Kind
from crishim.node import Node
from crishim.pb import cri_pb2 as cri

API_VERSION = "v1"
KUBELET_VERSION = "0.1.0"  # of the runtime API as the kubelet counts it; constant for ten years


async def Version(node: Node, request: cri.VersionRequest) -> cri.VersionResponse:
    return cri.VersionResponse(
        version=KUBELET_VERSION,
        runtime_name="crishim",
        runtime_version=crishim.__version__,
        runtime_api_version=API_VERSION,
    )


async def Status(node: Node, request: cri.StatusRequest) -> cri.StatusResponse:
    reason = await node.networks.ready()
    response = cri.StatusResponse(
        status=cri.RuntimeStatus(
            conditions=[
                cri.RuntimeCondition(type="RuntimeReady", status=True),
                cri.RuntimeCondition(
                    type="NetworkReady",
                    status=not reason,
                    reason="NetworkPluginNotReady" if reason else "",
                    message=reason,
                ),
            ]
        ),
        runtime_handlers=await describe_handlers(node.handlers),
        features=cri.RuntimeFeatures(
            supplemental_groups_policy=True, user_namespaces_host_network=False, mount_options=True
        ),
    )
    if request.verbose:
        response.info["config"] = json.dumps(describe_node(node))
    return response


async def RuntimeConfig(node: Node, request: cri.RuntimeConfigRequest) -> cri.RuntimeConfigResponse:
    driver = cri.SYSTEMD if node.config.runtimes.cgroup_driver == "systemd" else cri.CGROUPFS
    return cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=driver))


async def UpdateRuntimeConfig(node: Node, request: cri.UpdateRuntimeConfigRequest) -> cri.UpdateRuntimeConfigResponse:
    cidr = request.runtime_config.network_config.pod_cidr
    if cidr:
        node.networks.pod_cidr = check_cidrs(cidr)
    return cri.UpdateRuntimeConfigResponse()


def check_cidrs(text: str) -> str:
    """A comma-separated list of networks, as given. INVALID names the part that is none."""
    for part in text.split(","):
        try:
            ipaddress.ip_network(part.strip(), strict=False)
        except ValueError:
            raise CrishimError(Kind.INVALID, f"pod_cidr {part.strip()!r} is not a network") from None
    return text
