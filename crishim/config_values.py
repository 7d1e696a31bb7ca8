"""Checks of the settings' values beyond types and bounds. Pure: reads no files."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from crishim import device_rules, sysctls

if TYPE_CHECKING:
    from crishim.config import Config

_CGROUP = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9_.:@-]+)+")
_HANDLER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")  # used as a file name below run_dir
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def problems(config: "Config") -> Iterator[str]:
    """All problems, one line each that begins with the key."""
    for check in CHECKS:
        yield from check(config)


def handlers(config: "Config") -> Iterator[str]:
    settings = config.runtimes
    if settings.default not in settings.handlers:
        known = ", ".join(settings.handlers)
        yield f"runtimes.default: no handler is called {settings.default!r}; there are: {known}"
    elif not settings.handlers[settings.default].path:
        yield f"runtimes.default: the handler {settings.default!r} has no path"
    for name in settings.handlers:
        if not _HANDLER.fullmatch(name):
            yield f"runtimes.handlers: no handler can be called {name!r}"


def cgroup_paths(config: "Config") -> Iterator[str]:
    for key, paths in (("cgroup_parent", [config.pods.cgroup_parent]), ("cgroup_roots", config.pods.cgroup_roots)):
        for path in paths:
            if not _CGROUP.fullmatch(path) and (key, path) != ("cgroup_roots", "/"):
                yield f"pods.{key}: {path!r} is not the absolute path of a cgroup"


def pod_sysctls(config: "Config") -> Iterator[str]:
    for name in config.pods.sysctls:
        if not sysctls.is_path(name):
            yield f"pods.sysctls: {name!r} is no sysctl"
        elif not sysctls.is_net_sysctl(name) and not sysctls.is_ipc_sysctl(name):
            yield f"pods.sysctls: {name} is not namespaced and would change the whole node"


def absolute_paths(config: "Config") -> Iterator[str]:
    images, stream = config.images, config.stream
    several = {"network.plugin_dirs": config.network.plugin_dirs, "netdevices.cdi_dirs": config.netdevices.cdi_dirs}
    single = {"network.config_dir": config.network.config_dir}
    optional = {
        "images.policy": images.policy,
        "images.registries_conf": images.registries_conf,
        "checkpoints.directory": config.checkpoints.directory,
        "stream.tls_cert": stream.tls_cert,
        "stream.tls_key": stream.tls_key,
        "metrics.tls_cert": config.metrics.tls_cert,
        "metrics.tls_key": config.metrics.tls_key,
        "nri.plugin_dir": config.nri.plugin_dir,
        "nri.config_dir": config.nri.config_dir,
    }
    named = [(key, path) for key, paths in several.items() for path in paths]
    named += [*single.items(), *((key, path) for key, path in optional.items() if path)]
    for key, path in named:
        if not path.startswith("/") or "\0" in path:
            yield f"{key}: {path!r} is not an absolute path"


def addresses(config: "Config") -> Iterator[str]:
    if config.metrics.address and not _is_host_and_port(config.metrics.address):
        yield f"metrics.address: {config.metrics.address!r} is not HOST:PORT, as 127.0.0.1:9090 or [::1]:9090"
    if config.tracing.endpoint and not _is_url(config.tracing.endpoint):
        yield f"tracing.endpoint: {config.tracing.endpoint!r} is not a URL, as http://127.0.0.1:4318"
    if not _is_host(config.stream.address):
        text = "an address or a host name (its port is stream.port)"
        yield f"stream.address: {config.stream.address!r} is not {text}"


def _is_host_and_port(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        return False
    return _is_host(host[1:-1]) if bracketed else (":" not in host and (not host or _is_host(host)))


def _is_url(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    fit = scheme in ("http", "https") and bool(separator) and re.fullmatch("[!-~]*", slash + path) is not None
    return fit and (_is_host_and_port(host) if not _is_host(host) else True) and not host.startswith(":")


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return bool(_HOST_NAME.fullmatch(text)) and not re.fullmatch("[0-9.]+", text)
    return True


def tls(config: "Config") -> Iterator[str]:
    for section, settings in (("stream", config.stream), ("metrics", config.metrics)):
        if bool(settings.tls_cert) != bool(settings.tls_key):
            yield f"{section}.tls_cert and {section}.tls_key belong together: one is missing"


def devices(config: "Config") -> Iterator[str]:
    for i, rule in enumerate(config.netdevices.allow):
        if problem := device_rules.problem(rule):
            yield f"netdevices.allow[{i}].{problem}"
    for address in config.netdevices.node_addresses:
        if problem := device_rules.check_address(address):
            yield f"netdevices.node_addresses: {problem}"


CHECKS: tuple[Callable[["Config"], Iterator[str]], ...] = (
    *(handlers, cgroup_paths, pod_sysctls, absolute_paths, addresses, tls, devices),
)
