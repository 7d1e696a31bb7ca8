"""What is on a link of the lab, asked from its network namespace: work on it, and the BPF programs it has."""

from collections.abc import Callable
from pathlib import Path

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev import bpf_programs
from tests.node.netdev.lab import Lab


def on_device(netns: str | Path, name: str, work: Callable[[netns_thread.Netns, int], None]) -> None:
    def body(end: netns_thread.Netns) -> None:
        link = links.get(end.netlink, name)
        assert link is not None
        work(end, link.index)

    netns_thread.in_namespaces_thread((netns,), body)


def programs_of(lab: Lab, name: str, netns: str | Path | None = None) -> list[tuple[str, int]]:
    """(hook, program id) of a link, asked from its namespace."""
    found: list[tuple[str, int]] = []

    def read(end: netns_thread.Netns, index: int) -> None:
        link = links.get(end.netlink, index)
        assert link is not None
        found.extend((p.hook, p.id) for p in bpf_programs.read(link))

    on_device(netns or lab.host, name, read)
    return found
