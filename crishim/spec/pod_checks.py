"""Checks of a PodSandboxConfig on its own: one function each, which returns the problem or None."""

import ipaddress
import re
from collections.abc import Callable

from crishim.pb import cri_pb2 as cri
from crishim.spec.checks import bad_id, too_large, unusable_name, user_namespace_mode
from crishim.sysctls import is_ipc_sysctl, is_net_sysctl, is_path

_HOSTNAME_MAX = 64  # bytes; sethostname(2)
_HOSTNAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # hostname(7), and the underscore that some nodes have
_CGROUP = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_.:@-]+)+|[A-Za-z0-9_.:@-]+\.slice")
_CGROUP_MAX = 1024
_WORD_MAX = 1024  # bytes of a server, a domain or an option


def pod_has_metadata(c: cri.PodSandboxConfig) -> str | None:
    return None if c.HasField("metadata") else "the metadata is missing"


def pod_fits_into_a_list(c: cri.PodSandboxConfig) -> str | None:
    return too_large(c)


def pod_names_are_usable(c: cri.PodSandboxConfig) -> str | None:
    m = c.metadata
    return unusable_name("name", m.name) or unusable_name("namespace", m.namespace) or unusable_name("uid", m.uid)


def pod_hostname_is_usable(c: cri.PodSandboxConfig) -> str | None:
    name = c.hostname
    if len(name.encode()) > _HOSTNAME_MAX:
        return f"the hostname has {len(name.encode())} bytes, at most {_HOSTNAME_MAX} are possible"
    return f"{name!r} is no hostname" if name and not _HOSTNAME.fullmatch(name) else None


def pod_log_directory_is_absolute(c: cri.PodSandboxConfig) -> str | None:
    good = not c.log_directory or (c.log_directory.startswith("/") and c.log_directory.isprintable())
    return None if good else f"the log directory {c.log_directory!r} must be an absolute path"


def pod_ports_are_in_range(c: cri.PodSandboxConfig) -> str | None:
    for port in c.port_mappings:
        if not 0 <= port.host_port <= 65535:
            return f"the host port {port.host_port} is not between 0 (none) and 65535"
        if not (1 if port.host_port else 0) <= port.container_port <= 65535:
            return f"the container port {port.container_port} is not between 1 and 65535"
        if port.protocol not in (cri.TCP, cri.UDP, cri.SCTP):
            return f"unknown protocol {port.protocol} of port {port.container_port}"
    return None


def pod_port_addresses_are_addresses(c: cri.PodSandboxConfig) -> str | None:
    for port in c.port_mappings:
        try:
            ipaddress.ip_address(port.host_ip or "0.0.0.0")
        except ValueError:
            return f"{port.host_ip!r} is no address to map port {port.container_port} on"
    return None


def pod_host_ports_are_distinct(c: cri.PodSandboxConfig) -> str | None:
    seen = set()
    for port in c.port_mappings:
        key = (port.protocol, port.host_port, port.host_ip)
        if port.host_port and key in seen:
            return f"the host port {port.host_port} is mapped twice"
        seen.add(key)
    return None


def pod_namespace_modes_are_known(c: cri.PodSandboxConfig) -> str | None:
    options = _options(c)
    if options.network not in (cri.POD, cri.NODE):
        return "a pod's network namespace is POD or NODE"
    if options.ipc not in (cri.POD, cri.NODE, cri.CONTAINER):
        return "a pod's IPC namespace is POD, CONTAINER or NODE"
    if options.pid not in (cri.POD, cri.CONTAINER, cri.NODE):
        return "a pod's PID namespace is POD, CONTAINER or NODE"
    return None


def pod_user_namespace_is_pod_or_node(c: cri.PodSandboxConfig) -> str | None:
    return user_namespace_mode(_options(c))


def pod_user_mappings_are_single(c: cri.PodSandboxConfig) -> str | None:
    users = _options(c).userns_options
    if not _options(c).HasField("userns_options") or users.mode != cri.POD:
        return None
    for kind, mappings in (("uid", users.uids), ("gid", users.gids)):
        if len(mappings) != 1:
            return f"a user namespace needs exactly one {kind} mapping, not {len(mappings)}"
    return None


def pod_user_mappings_cover_root(c: cri.PodSandboxConfig) -> str | None:
    """The container's id 0 must be mapped: the runtime sets the container up as it."""
    users = _options(c).userns_options
    for kind, mappings in (("uid", users.uids), ("gid", users.gids)):
        for mapping in mappings:
            if mapping.container_id != 0 or mapping.length == 0:
                return f"the {kind} mapping does not map the container's id 0"
            if mapping.host_id + mapping.length > 2**32 - 1:
                return f"the {kind} mapping goes beyond the largest id"
    return None


def pod_ids_are_in_range(c: cri.PodSandboxConfig) -> str | None:
    """run_as_group without run_as_user is accepted here: the kubelet sends it for a pod-level runAsGroup."""
    context = c.linux.security_context
    return bad_id([context.run_as_user.value, context.run_as_group.value, *context.supplemental_groups])


def pod_sysctls_stay_in_the_pod(c: cri.PodSandboxConfig) -> str | None:
    """Refuses sysctls that would change the node; which namespaced ones are safe is decided by the kubelet."""
    options = _options(c)
    for name in c.linux.sysctls:
        if is_net_sysctl(name):
            if options.network == cri.NODE:
                return f"the sysctl {name} would be the node's: the pod uses the host's network"
        elif is_ipc_sysctl(name):
            if options.ipc == cri.NODE:
                return f"the sysctl {name} would be the node's: the pod uses the host's IPC namespace"
        else:
            return f"the sysctl {name} is not namespaced and would change the whole node"
    return None


def pod_sysctls_are_paths(c: cri.PodSandboxConfig) -> str | None:
    """A name becomes a path below /proc/sys."""
    for name in c.linux.sysctls:
        if not is_path(name):
            return f"{name!r} is no sysctl"
    return None


def pod_cgroup_parent_is_a_path(c: cri.PodSandboxConfig) -> str | None:
    """Characters that kubelets use; a systemd slice may be without its path. engine/sandbox.py checks where it is."""
    parent = c.linux.cgroup_parent
    if not parent or (_CGROUP.fullmatch(parent) and len(parent) <= _CGROUP_MAX):
        return None
    return f"the cgroup parent {parent!r} is no path of a cgroup"


def pod_dns_is_made_of_words(c: cri.PodSandboxConfig) -> str | None:
    """Each becomes one word in resolv.conf: white space or a newline in it would add others or a line."""
    dns = c.dns_config
    for kind, words in (("server", dns.servers), ("search domain", dns.searches), ("option", dns.options)):
        for word in words:
            if not word or len(word) > _WORD_MAX or any(ch.isspace() or not ch.isprintable() for ch in word):
                return f"{word!r} is no DNS {kind}"
    return None


POD_CHECKS: tuple[Callable[[cri.PodSandboxConfig], str | None], ...] = (
    pod_has_metadata,
    pod_fits_into_a_list,
    pod_names_are_usable,
    pod_hostname_is_usable,
    pod_log_directory_is_absolute,
    pod_ports_are_in_range,
    pod_port_addresses_are_addresses,
    pod_host_ports_are_distinct,
    pod_namespace_modes_are_known,
    pod_user_namespace_is_pod_or_node,
    pod_user_mappings_are_single,
    pod_user_mappings_cover_root,
    pod_ids_are_in_range,
    pod_sysctls_are_paths,
    pod_sysctls_stay_in_the_pod,
    pod_cgroup_parent_is_a_path,
    pod_dns_is_made_of_words,
)


def _options(c: cri.PodSandboxConfig) -> cri.NamespaceOption:
    return c.linux.security_context.namespace_options
