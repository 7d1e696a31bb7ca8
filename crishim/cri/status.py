"""The RPCs of the runtime as a whole: version, status, configuration. They are answered while the daemon starts, so
this file imports only what they need (tests/unit/cli/test_imports.py).
"""

import asyncio
import ipaddress
import json
from typing import Any

import msgspec

import crishim
from crishim.base_node import BaseNode
from crishim.engine.handlers import Handlers
from crishim.engine.runtime import Runtime
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

API_VERSION = "v1"
KUBELET_VERSION = "0.1.0"  # of the kubelet's runtime API; it has never changed
FEATURES_PATIENCE = 0.5  # seconds an OCI runtime has for `features`, which is called once


async def Version(node: BaseNode, request: cri.VersionRequest) -> cri.VersionResponse:
    return cri.VersionResponse(
        version=KUBELET_VERSION,
        runtime_name="crishim",
        runtime_version=crishim.__version__,
        runtime_api_version=API_VERSION,
    )


async def Status(node: BaseNode, request: cri.StatusRequest) -> cri.StatusResponse:
    """RuntimeReady does not wait for recovery: calls that make pods or containers do so themselves (cri/gate.py)."""
    unfit, reason, handlers = await asyncio.gather(
        node.fitness.reason(), node.networks.ready(), describe_handlers(node.handlers)
    )
    response = cri.StatusResponse(
        status=cri.RuntimeStatus(
            conditions=[
                cri.RuntimeCondition(
                    type="RuntimeReady",
                    status=not unfit,
                    reason="HostNotFit" if unfit else "",
                    message=unfit,
                ),
                cri.RuntimeCondition(
                    type="NetworkReady",
                    status=not reason,
                    reason="NetworkPluginNotReady" if reason else "",
                    message=reason,
                ),
            ]
        ),
        runtime_handlers=handlers,
        features=cri.RuntimeFeatures(
            supplemental_groups_policy=True, user_namespaces_host_network=False, mount_options=True
        ),
    )
    if request.verbose:
        response.info["config"] = json.dumps(describe_node(node))
    return response


async def RuntimeConfig(node: BaseNode, request: cri.RuntimeConfigRequest) -> cri.RuntimeConfigResponse:
    driver = cri.SYSTEMD if node.config.runtimes.cgroup_driver == "systemd" else cri.CGROUPFS
    return cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=driver))


async def UpdateRuntimeConfig(
    node: BaseNode, request: cri.UpdateRuntimeConfigRequest
) -> cri.UpdateRuntimeConfigResponse:
    cidr = request.runtime_config.network_config.pod_cidr
    if cidr:
        node.networks.pod_cidr = check_cidrs(cidr)
    return cri.UpdateRuntimeConfigResponse()


def check_cidrs(text: str) -> str:
    """The text, checked to be a comma-separated list of networks. Raises INVALID, naming the part that is not one."""
    for part in text.split(","):
        try:
            ipaddress.ip_network(part.strip(), strict=False)
        except ValueError:
            raise CrishimError(Kind.INVALID, f"pod_cidr {part.strip()!r} is not a network") from None
    return text


def describe_node(node: BaseNode) -> dict[str, Any]:
    """The settings in force. critest tests for idmapped mounts in the parent of stateDir."""
    return {"stateDir": node.config.state_dir, "settings": msgspec.to_builtins(node.settings.in_force)}


async def describe_handlers(handlers: Handlers) -> list[cri.RuntimeHandler]:
    """The handlers as Status lists them: every one by name, and the default one as "" too."""
    described = [("", handlers.offered(""))] + [(runtime.name, runtime) for runtime in handlers.all_offered()]
    features = await asyncio.gather(*(_features(runtime) for _, runtime in described))
    return [cri.RuntimeHandler(name=name, features=f) for (name, _), f in zip(described, features, strict=True)]


async def _features(runtime: Runtime) -> cri.RuntimeHandlerFeatures:
    try:
        async with asyncio.timeout(FEATURES_PATIENCE):
            features = await runtime.features()
    except (TimeoutError, CrishimError):
        return cri.RuntimeHandlerFeatures()  # it hangs, or is gone
    options = features.get("mountOptions") or []
    namespaces = (features.get("linux") or {}).get("namespaces") or []
    # A runtime that does not list namespaces, as crun before 1.9, supports user namespaces nevertheless.
    return cri.RuntimeHandlerFeatures(
        recursive_read_only_mounts="rro" in options, user_namespaces=not namespaces or "user" in namespaces
    )
