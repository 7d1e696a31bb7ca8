"""Restores per-device settings of both families, neighbour ageing, the IPv6 token and secret.

Where the kernel refuses some, each is written alone, so that the others take effect.
"""

import errno

from crishim.linux import devconf
from crishim.linux.devconf import Devconf
from crishim.linux.netlink import links, neighbours
from crishim.linux.netlink.links import IFLA_INET6_ADDR_GEN_MODE, IFLA_INET6_TOKEN, Link
from crishim.netdev.restore_context import RestoreContext


def restore_settings(context: RestoreContext, link: Link) -> None:
    """The thread must be in the host's namespace. link: as it arrived on the host."""
    wanted = context.was.settings
    now = devconf.parse(link.settings)
    if link.mtu != context.was.mtu:
        now = _reread(context, now)  # a link with an MTU below 1280 has no IPv6
    _restore_files(context)
    _restore_ipv4(context, now)
    for ageing in context.was.ageing:
        with context.attempt("neighbour settings"):
            neighbours.restore_ageing(context.host.netlink, context.index, ageing)
    if wanted.token != now.token and any(wanted.token):
        _restore_token(context, wanted.token)
        now = _reread(context, now)
    for setting, value in devconf.ipv6_changes(now, wanted):
        with context.attempt(f"net.ipv6.conf.{setting}"):
            devconf.write_ipv6(context.name, setting, value)
    may_differ = wanted.gen_mode != now.gen_mode or bool(context.was.sysctls)  # writing a secret sets the mode
    if wanted.gen_mode is not None and may_differ and wanted.gen_mode != _reread(context, now).gen_mode:
        with context.attempt("addrgenmode"):
            mode = bytes([wanted.gen_mode])
            links.set_ipv6_attribute(context.host.netlink, context.index, IFLA_INET6_ADDR_GEN_MODE, mode)


def _reread(context: RestoreContext, before: Devconf) -> Devconf:
    link = links.get(context.host.netlink, context.index)
    return before if link is None else devconf.parse(link.settings)


def _restore_files(context: RestoreContext) -> None:
    """Before the address generation mode: without a secret, the mode that uses it is refused."""
    if not context.was.sysctls:
        return
    now = dict(devconf.read_files(context.name))
    for pattern, value in context.was.sysctls:
        if now.get(pattern) != value:
            with context.attempt(devconf.file_name(pattern)):
                devconf.write_file(context.name, pattern, value)


def _restore_ipv4(context: RestoreContext, now: Devconf) -> None:
    """In one message, and if the kernel refuses that, each by itself."""
    changes = devconf.ipv4_changes(now, context.was.settings)
    if not changes:
        return
    try:
        links.set_ipv4_settings(context.host.netlink, context.index, changes)
    except OSError:
        for kind, value in changes:
            with context.attempt(f"net.ipv4.conf.{devconf.ipv4_name(kind)}"):
                links.set_ipv4_settings(context.host.netlink, context.index, [(kind, value)])


def _restore_token(context: RestoreContext, token: bytes) -> None:
    """The kernel takes one only on a link that accepts router advertisements. Where that is off, it is set here and
    restored afterwards with the other settings."""
    with context.attempt("IPv6 token"):
        try:
            links.set_ipv6_attribute(context.host.netlink, context.index, IFLA_INET6_TOKEN, token)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            for setting, value in (("forwarding", 0), ("accept_ra", 2), ("router_solicitations", 1)):
                devconf.write_ipv6(context.name, setting, value)
            links.set_ipv6_attribute(context.host.netlink, context.index, IFLA_INET6_TOKEN, token)
