"""Ports of pods, reached from the host's side through the real portmap plugin."""

import socket

import pytest

from crishim.pb import cri_pb2 as cri
from tests.support.daemon import Daemon, eventually
from tests.support.isolation import ip
from tests.support.pods import container_config, pod_config, remove_pod, run_pod, start
from tests.support.residue import BRIDGE

pytestmark = pytest.mark.node


def answer(address: str, port: int) -> bytes:
    """What a TCP server says, b"" if nobody does."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        try:
            s.connect((address, port))
            return s.recv(100)
        except OSError:
            return b""


@pytest.mark.fact("RunPodSandbox")
def test_a_port_is_reached_from_the_host(daemon: Daemon) -> None:
    """Through the node's address and localhost; host_port 0 maps nothing; after the stop nobody answers."""
    mapping = cri.PortMapping(host_port=8097, container_port=80)
    pod = run_pod(daemon, pod_config(port_mappings=[mapping, cri.PortMapping(host_port=0, container_port=81)]))
    start(daemon, pod, container_config(command=["sh", "-c", "while :; do echo hello | nc -l -p 80; done"]))
    bridge = ip("-4", "-o", "addr", "show", BRIDGE).split()[3].partition("/")[0]
    eventually(lambda: answer(bridge, 8097) == b"hello\n", "the port answers at the node's address")
    eventually(lambda: answer("127.0.0.1", 8097) == b"hello\n", "the port answers at localhost")
    address = daemon.call("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip
    eventually(lambda: answer(address, 80) == b"hello\n", "the pod answers at its own address")
    remove_pod(daemon, pod)
    assert answer(bridge, 8097) == b""
