"""A pod's CNI_ARGS and capability arguments, from its CRI configuration. CNI's CONVENTIONS.md."""

import re
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

_PROTOCOLS = {cri.TCP: "tcp", cri.UDP: "udp", cri.SCTP: "sctp"}
_BURST = (1 << 31) - 1  # bits; the largest the bandwidth plugin takes
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*(?:e[0-9]+)?)([A-Za-z]*)", re.ASCII)
_SUFFIXES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_SUFFIXES |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


def cni_args(pod_id: str, metadata: cri.PodSandboxMetadata) -> dict[str, str]:
    """CNI_ARGS as every Kubernetes runtime gives them; with IgnoreUnknown plugins ignore those they do not know."""
    return {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": metadata.namespace,
        "K8S_POD_NAME": metadata.name,
        "K8S_POD_INFRA_CONTAINER_ID": pod_id,
        "K8S_POD_UID": metadata.uid,
    }


def capability_args(config: cri.PodSandboxConfig, pod_cidr: str) -> dict[str, Any]:
    """Arguments by capability; each plugin gets those it declares. pod_cidr: UpdateRuntimeConfig's, comma-separated."""
    args: dict[str, Any] = {
        "portMappings": [_port(p) for p in config.port_mappings if p.host_port > 0],
        "bandwidth": bandwidth(dict(config.annotations)),
        "io.kubernetes.cri.pod-annotations": dict(config.annotations),
    }
    if config.HasField("dns_config"):
        dns = config.dns_config
        args["dns"] = {"servers": [*dns.servers], "searches": [*dns.searches], "options": [*dns.options]}
    if pod_cidr:
        args["ipRanges"] = [[{"subnet": cidr.strip()}] for cidr in pod_cidr.split(",")]
    if config.linux.cgroup_parent:
        args["cgroupPath"] = config.linux.cgroup_parent
    return {name: value for name, value in args.items() if value}


def bandwidth(annotations: dict[str, str]) -> dict[str, int]:
    """Rates in bits/s from the annotations kubernetes.io/{ingress,egress}-bandwidth. INVALID if malformed."""
    shaped = {}
    for direction in ("ingress", "egress"):
        key = f"kubernetes.io/{direction}-bandwidth"
        if annotations.get(key):
            shaped[f"{direction}Rate"] = parse_quantity(key, annotations[key])
            shaped[f"{direction}Burst"] = _BURST
    return shaped


def parse_quantity(key: str, text: str) -> int:
    """A Kubernetes quantity such as 10M or 1.5Gi, as an integer. INVALID names the annotation."""
    match = _QUANTITY.fullmatch(text)
    try:
        value = int(float(match[1]) * _SUFFIXES[match[2]]) if match else 0
    except (KeyError, OverflowError):
        value = 0
    if value <= 0:
        raise CrishimError(Kind.INVALID, f"annotation {key}: {text!r} is not a positive quantity")
    return value


def _port(mapping: cri.PortMapping) -> dict[str, Any]:
    port: dict[str, Any] = {
        "hostPort": mapping.host_port,
        "containerPort": mapping.container_port,
        "protocol": _PROTOCOLS[mapping.protocol],
    }
    return port | ({"hostIP": mapping.host_ip} if mapping.host_ip else {})
