"""What a privileged pod does to a device of the host, one function each, for the state machine."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crishim.linux import netns_thread
from crishim.linux.netlink import links
from crishim.netdev.records import PodRef
from tests.node.netdev.lab import Lab


@dataclasses.dataclass
class Held:
    """A device in a pod: its name and ifindex there, and what the host's administrator knows it as."""

    name: str
    index: int
    picture: dict[str, Any]
    is_away: bool = False  # deleted, or in a namespace that only the pod knows
    is_renamed: bool = False


@dataclasses.dataclass
class PodModel:
    pod: PodRef
    held: dict[str, Held] = dataclasses.field(default_factory=dict)
    nested: list[Path] = dataclasses.field(default_factory=list)
    made: int = 0


def _free_name(pod: PodModel, stem: str) -> str:
    pod.made += 1
    return f"{stem}{pod.made}"


def _change(words: str) -> Callable[[Lab, PodModel, Held], None]:
    def act(lab: Lab, pod: PodModel, held: Held) -> None:
        lab.ip(words.format(dev=held.name), pod.pod.netns, check=False)  # some kinds refuse some of it

    return act


def rename(lab: Lab, pod: PodModel, held: Held) -> None:
    name = _free_name(pod, "mine")
    lab.ip(f"link set {held.name} name {name}", pod.pod.netns)
    held.name, held.is_renamed = name, True


def delete(lab: Lab, pod: PodModel, held: Held) -> None:
    lab.ip(f"link del {held.name}", pod.pod.netns)
    held.is_away = True


def hide(lab: Lab, pod: PodModel, held: Held) -> None:
    """Into a namespace of the pod's own."""
    target = lab.namespace(_free_name(pod, f"{Path(pod.pod.netns).stem}-nested"))
    pod.nested.append(target)

    def work(inside: netns_thread.Netns, away: netns_thread.Netns) -> None:
        links.move(inside.netlink, held.index, away.fd, "hidden", up=False)

    netns_thread.in_namespaces_thread((pod.pod.netns, target), work)
    held.is_away = True


def altnames_of(lab: Lab, pod: PodModel, held: Held) -> list[str]:
    link = lab.link(held.name, pod.pod.netns)
    assert link is not None
    return [str(x) for x in link.get("altnames", [])]


def take_altnames_off(lab: Lab, pod: PodModel, held: Held) -> None:
    for altname in altnames_of(lab, pod, held):
        lab.ip(f"link property del dev {held.name} altname {altname}", pod.pod.netns)


def impostor(lab: Lab, pod: PodModel, held: Held) -> None:
    """The altnames go to an ifb; the device stays where it is, nameless."""
    found = altnames_of(lab, pod, held)
    take_altnames_off(lab, pod, held)
    name = _free_name(pod, "imp")
    lab.ip(f"link add {name} address {held.picture['address']} type ifb", pod.pod.netns)
    for altname in found:
        lab.ip(f"link property add dev {name} altname {altname}", pod.pod.netns)


def replace(lab: Lab, pod: PodModel, held: Held) -> None:
    """The device is deleted, and an ifb has its ifindex, MAC, name and altnames."""
    found = altnames_of(lab, pod, held)
    lab.ip(f"link del {held.name}", pod.pod.netns)
    lab.ip(
        f"link add {held.name} address {held.picture['address']} index {held.index} type bridge",
        pod.pod.netns,
    )
    for altname in found:
        lab.ip(f"link property add dev {held.name} altname {altname}", pod.pod.netns)
    held.is_away = True


def enslave(lab: Lab, pod: PodModel, held: Held) -> None:
    name = _free_name(pod, "br")
    lab.ip(f"link add {name} type bridge", pod.pod.netns)
    lab.ip(f"link set {held.name} master {name}", pod.pod.netns)


def stray_altname(lab: Lab, pod: PodModel, held: Held) -> None:
    lab.ip(f"link property add dev {held.name} altname {_free_name(pod, 'orphan')}", pod.pod.netns)


def down_and_renamed_over(lab: Lab, pod: PodModel, held: Held) -> None:
    """Another link of the pod gets the name the device had."""
    before = held.name
    rename(lab, pod, held)
    lab.ip(f"link add {before} type ifb", pod.pod.netns)


MISCHIEF: dict[str, Callable[[Lab, PodModel, Held], None]] = {
    "mtu": _change("link set {dev} mtu 1290"),
    "mac": _change("link set {dev} address 02:00:00:00:00:99"),
    "down": _change("link set {dev} down"),
    "flush": _change("addr flush dev {dev}"),
    "address": _change("addr replace 192.0.2.200/25 dev {dev}"),
    "flags": _change("link set {dev} promisc on allmulticast on arp off"),
    "alias": _change("link set {dev} alias ha"),
    "rename": rename,
    "delete": delete,
    "hide": hide,
    "altnames off": take_altnames_off,
    "impostor": impostor,
    "replace": replace,
    "enslave": enslave,
    "orphan altname": stray_altname,
    "renamed over": down_and_renamed_over,
}
