"""Settings of a virtual function that the host makes through its physical function (SR-IOV): read and restored."""

from crishim.linux import device_tree
from crishim.linux.netlink import links, vf_settings
from crishim.linux.netlink.links import Link
from crishim.linux.netns_thread import Netns
from crishim.netdev.restore_context import RestoreContext


def read(host: Netns, name: str) -> bytes:
    """The settings (vf_settings.read); b"" if it is no virtual function, or its physical one is not on the host."""
    found = _find(host, name)
    return vf_settings.read(host.netlink, *found) if found else b""


def restore(context: RestoreContext, link: Link) -> None:
    """Call it after the MAC is restored, which many drivers pass on to the physical function by themselves: set through
    the physical function, it would be fixed for the virtual one, unlike before."""
    found = _find(context.host, context.name) if context.was.vf_settings else None
    if found is None:
        return  # audit.py names what differs
    for change in vf_settings.changes(vf_settings.read(context.host.netlink, *found), context.was.vf_settings):
        with context.attempt(vf_settings.name(change[0])):
            vf_settings.write(context.host.netlink, found[0], change)


def _find(host: Netns, name: str) -> tuple[int, int] | None:
    """ifindex of the physical function and number of the virtual one."""
    found = device_tree.physical(host.sysfs, name)
    if found is None:
        return None
    index = links.index_of(host.netlink, found[0])
    return (index, found[1]) if index else None
