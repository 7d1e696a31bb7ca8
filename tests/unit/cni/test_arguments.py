"""What a pod asks of its network, in CNI's terms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cni.arguments import bandwidth, capability_args, cni_args, parse_quantity
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

KEY = "kubernetes.io/ingress-bandwidth"


def test_a_plain_pod_asks_for_nothing() -> None:
    """No empty argument is handed on; a host_port of 0 is none."""
    config = cri.PodSandboxConfig(port_mappings=[cri.PortMapping(container_port=80)])
    assert capability_args(config, "") == {}


def test_everything() -> None:
    """Each capability from its field."""
    config = cri.PodSandboxConfig(
        port_mappings=[
            cri.PortMapping(host_port=1, container_port=2),
            cri.PortMapping(host_port=3, container_port=4, protocol=cri.SCTP, host_ip="::1"),
        ],
        dns_config=cri.DNSConfig(servers=["s"], searches=["a"], options=["o"]),
        annotations={KEY: "1M"},
        linux=cri.LinuxPodSandboxConfig(cgroup_parent="/kubepods/x"),
    )
    assert capability_args(config, "10.0.0.0/8, fd00::/8") == {
        "portMappings": [
            {"hostPort": 1, "containerPort": 2, "protocol": "tcp"},
            {"hostPort": 3, "containerPort": 4, "protocol": "sctp", "hostIP": "::1"},
        ],
        "dns": {"servers": ["s"], "searches": ["a"], "options": ["o"]},
        "bandwidth": {"ingressRate": 10**6, "ingressBurst": 2**31 - 1},
        "ipRanges": [[{"subnet": "10.0.0.0/8"}], [{"subnet": "fd00::/8"}]],
        "io.kubernetes.cri.pod-annotations": {KEY: "1M"},
        "cgroupPath": "/kubepods/x",
    }


def test_cni_args() -> None:
    """The five that plugins of Kubernetes know."""
    args = cni_args("id", cri.PodSandboxMetadata(name="n", namespace="ns", uid="u", attempt=3))
    assert args == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "ns",
        "K8S_POD_NAME": "n",
        "K8S_POD_INFRA_CONTAINER_ID": "id",
        "K8S_POD_UID": "u",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("10M", 10**7), ("1k", 1000), ("1.5Gi", 3 << 29), ("2Ki", 2048), ("0.5G", 5 * 10**8), ("1e6", 10**6)],
)
def test_quantities(text: str, value: int) -> None:
    """Decimal and binary suffixes, fractions, exponents."""
    assert parse_quantity(KEY, text) == value


@pytest.mark.parametrize(
    "text", ["", "M", "0", "-1M", "10MB", "ten", "nan", "inf", "1e999", "1 M", "1_0", "0.1", "5m", "+1"]
)
def test_what_is_no_quantity(text: str) -> None:
    """INVALID names the annotation."""
    with pytest.raises(CrishimError, match=KEY) as caught:
        parse_quantity(KEY, text)
    assert caught.value.kind is Kind.INVALID


@given(st.text(max_size=12))
def test_any_annotation(text: str) -> None:
    """A positive rate, none at all, or INVALID."""
    try:
        shaped = bandwidth({KEY: text})
    except CrishimError:
        return
    assert shaped == {} or shaped["ingressRate"] > 0
