"""The RPCs of the runtime as a whole: version, status, configuration."""

import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import crishim
from crishim.cni.network import PodNetworks
from crishim.cri.server import Functions
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

API_VERSION = "v1"
KUBELET_VERSION = "0.1.0"  # of the runtime API as the kubelet counts it; constant for ten years


def functions(
    *,
    networks: PodNetworks,
    handlers: Callable[[], Awaitable[list[cri.RuntimeHandler]]],
    systemd_cgroups: bool,
    info: Callable[[], Awaitable[Mapping[str, Any]]],
) -> Functions:
    """handlers: as Status lists them. info: of a verbose Status."""

    async def version(request: cri.VersionRequest) -> cri.VersionResponse:
        return cri.VersionResponse(
            version=KUBELET_VERSION,
            runtime_name="crishim",
            runtime_version=crishim.__version__,
            runtime_api_version=API_VERSION,
        )

    async def status(request: cri.StatusRequest) -> cri.StatusResponse:
        reason = await networks.ready()
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
            runtime_handlers=await handlers(),
            features=cri.RuntimeFeatures(
                supplemental_groups_policy=True, user_namespaces_host_network=False, mount_options=True
            ),
        )
        if request.verbose:
            response.info["config"] = json.dumps(await info())
        return response

    async def runtime_config(request: cri.RuntimeConfigRequest) -> cri.RuntimeConfigResponse:
        driver = cri.SYSTEMD if systemd_cgroups else cri.CGROUPFS
        return cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def update(request: cri.UpdateRuntimeConfigRequest) -> cri.UpdateRuntimeConfigResponse:
        cidr = request.runtime_config.network_config.pod_cidr
        if cidr:
            networks.pod_cidr = check_cidrs(cidr)
        return cri.UpdateRuntimeConfigResponse()

    return {
        "Version": version,
        "Status": status,
        "RuntimeConfig": runtime_config,
        "UpdateRuntimeConfig": update,
    }


def check_cidrs(text: str) -> str:
    """A comma-separated list of networks, as given. INVALID names the part that is none."""
    for part in text.split(","):
        try:
            ipaddress.ip_network(part.strip(), strict=False)
        except ValueError:
            raise CrishimError(Kind.INVALID, f"pod_cidr {part.strip()!r} is not a network") from None
    return text
