"""The settings as types, with each one's default and description, which cli/default_config.py prints. config_files.py
reads them, at start and at SIGHUP.
"""

import tomllib
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from crishim import config_values, device_rules


class ConfigError(Exception):
    """A configuration that cannot be used; the text is one line that names the key."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


def _help(description: str) -> Meta:
    return Meta(description=description)


Seconds = Annotated[float, Meta(gt=0, le=1e9)]


class HandlerSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One OCI runtime that a pod's runtime_handler may name."""

    path: Annotated[str, _help("program, looked up in PATH unless absolute; empty: there is no such handler")]
    netdevices: Annotated[
        Literal["auto", "runtime", "builtin"],
        _help("who moves network devices: the runtime if its `features` says it can, else crishim itself"),
    ] = "auto"


_HANDLERS: dict[str, dict[str, Any]] = {"crun": {"path": "crun"}, "runc": {"path": "runc"}}


class RuntimeSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    default: Annotated[str, _help("handler of pods that name none")] = "crun"
    handlers: Annotated[
        dict[str, HandlerSettings],
        _help("OCI runtimes by handler name (RuntimeClass.handler); what is given here is added to crun and runc"),
    ] = msgspec.field(default_factory=lambda: {name: HandlerSettings(**facts) for name, facts in _HANDLERS.items()})
    conmon: Annotated[str, _help("container monitor")] = "conmon"
    timeout: Annotated[Seconds, _help("longest time, in seconds, one call of the runtime may take")] = 120.0
    path_timeout: Annotated[
        Seconds, _help("longest time, in seconds, looking up a container's host paths may take; a pod has three tries")
    ] = 20.0
    cgroup_driver: Annotated[
        Literal["cgroupfs", "systemd"], _help("who makes cgroups; the kubelet asks and must agree")
    ] = "cgroupfs"
    missing_host_path: Annotated[
        Literal["refuse", "create"],
        _help(
            "a mount whose host path does not exist: make a directory, which the kubelet leaves to the runtime for a "
            'hostPath of type "", or refuse (what the text of CRI says)'
        ),
    ] = "create"
    apparmor_profile: Annotated[
        str,
        _help(
            "AppArmor profile of containers that ask for the runtime's default; the daemon loads crishim-default, any "
            "other must be loaded; empty: none"
        ),
    ] = "crishim-default"
    pids_limit: Annotated[int, Meta(ge=0), _help("most processes in one container; 0 is no limit")] = 0


class PodSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    init: Annotated[str, _help("init of pods with a shared PID namespace (catatonit -P)")] = "catatonit"
    cgroup_parent: Annotated[
        str,
        _help(
            "cgroup of pods for which the client names none, one below it for each; with the systemd driver the slice "
            "of that name, crishim.slice"
        ),
    ] = "/crishim"
    cgroup_roots: Annotated[
        list[str],
        _help(
            "cgroups at or below which a client may put pods, besides cgroup_parent and the kubelet's kubepods "
            '(critest with cgroup_driver "systemd" wants "/test.slice"); "/" allows any'
        ),
    ] = msgspec.field(default_factory=list)
    sysctls: Annotated[dict[str, str], _help("sysctls of every pod with namespaces of its own; the pod's own win")] = (
        msgspec.field(default_factory=dict)
    )


class NetworkSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    config_dir: Annotated[str, _help("CNI configurations; changes are seen without a restart")] = "/etc/cni/net.d"
    choose: Annotated[
        Literal["newest", "first"], _help("of several valid files: the newest, or the first by name as the kubelet did")
    ] = "newest"
    plugin_dirs: Annotated[list[str], _help("where CNI plugins are looked for, in this order")] = msgspec.field(
        default_factory=lambda: ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"]
    )
    timeout: Annotated[Seconds, _help("longest time, in seconds, one CNI plugin may take")] = 60.0


class NetDeviceSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    cdi_dirs: Annotated[list[str], _help("CDI specification directories; a later one overrides an earlier one")] = (
        msgspec.field(default_factory=lambda: ["/etc/cdi", "/var/run/cdi"])
    )
    allow: Annotated[
        list[device_rules.Rule],
        _help(
            'what pods may take by annotation, as [{devices = ["ens[5-8]"], kinds = ["physical"], '
            'namespaces = ["lab-*"]}]; nothing by default'
        ),
    ] = msgspec.field(default_factory=list)
    node_addresses: Annotated[
        list[str], _help("addresses of this node beside those of default routes: no pod gets their devices")
    ] = msgspec.field(default_factory=list)
    allow_node_device: Annotated[
        bool,
        _help("let CDI and `netdev attach`, never an annotation, take the device of a default route or of the node"),
    ] = False


class ImageSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    root: Annotated[str, _help("containers-storage graph root; empty: images/ below state_dir")] = ""
    skopeo: Annotated[str, _help("image transport")] = "skopeo"
    policy: Annotated[str, _help("signature policy; empty: where containers/image looks for it")] = ""
    registries_conf: Annotated[str, _help("registries.conf; empty: where containers/image looks for it")] = ""
    pull_timeout: Annotated[Seconds, _help("longest time, in seconds, one pull may take")] = 1800.0
    pinned: Annotated[list[str], _help("images the kubelet must not collect: names or name patterns (*)")] = (
        msgspec.field(default_factory=list)
    )


class CheckpointSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    directory: Annotated[
        str,
        _help(
            "below it CreateContainer takes a checkpoint's archive by its absolute path as the image, root's files "
            "only; who can name an image can then restore any of them, with all it had in memory; empty: none"
        ),
    ] = ""


class StreamSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    address: Annotated[str, _help("address of the exec, attach and port-forward server")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), _help("its port; 0 takes a free one")] = 0
    tls_cert: Annotated[str, _help("certificate chain (PEM); empty: no TLS")] = ""
    tls_key: Annotated[str, _help("its key (PEM)")] = ""
    idle_timeout: Annotated[
        Seconds, _help("seconds without a byte in either direction until a connection is closed")
    ] = 4 * 3600.0
    sessions: Annotated[
        int, Meta(ge=1), _help("exec, attach and port-forward sessions at once; one pod or container has a quarter")
    ] = 1024
    session_streams: Annotated[
        int, Meta(ge=2), _help("streams of one session at once; a forwarded connection has two")
    ] = 1024
    descriptors: Annotated[
        int, Meta(ge=0), _help("file descriptors for streaming; 0: half of what the process may have (LimitNOFILE)")
    ] = 0


class MetricsSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    address: Annotated[
        str, _help("HOST:PORT of the Prometheus endpoint, /metrics; :PORT is on the loopback interface; empty: none")
    ] = ""
    tls_cert: Annotated[str, _help("certificate chain (PEM); empty: no TLS")] = ""
    tls_key: Annotated[str, _help("its key (PEM)")] = ""


class TracingSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Export of traces to a collector; `crishim trace` works without it."""

    endpoint: Annotated[
        str, _help("collector for OTLP over HTTP, as http://127.0.0.1:4318; empty: no traces are sent")
    ] = ""
    sampling_rate_per_million: Annotated[
        int, Meta(ge=0, le=1_000_000), _help("of calls whose client does not trace; a client that does decides itself")
    ] = 1_000_000


class ValidatorSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Adjustments that are refused, whichever plugin makes them."""

    enable: Annotated[bool, _help("ask the built-in validator")] = False
    reject_oci_hook_adjustment: Annotated[bool, _help("no plugin adds OCI hooks")] = False
    reject_runtime_default_seccomp_adjustment: Annotated[bool, _help("a RuntimeDefault profile stays")] = False
    reject_unconfined_seccomp_adjustment: Annotated[bool, _help("Unconfined stays")] = False
    reject_custom_seccomp_adjustment: Annotated[bool, _help("a Localhost profile stays")] = False
    reject_namespace_adjustment: Annotated[bool, _help("no plugin changes namespaces")] = False
    reject_sysctl_adjustment: Annotated[bool, _help("no plugin changes sysctls")] = False
    required_plugins: Annotated[list[str], _help("plugins without which no container is created")] = msgspec.field(
        default_factory=list
    )
    tolerate_missing_plugins_annotation: Annotated[
        str, _help('annotation by which a pod says "true": it does without them')
    ] = ""


class NriSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Plugins that see pods and containers, and change containers: the Node Resource Interface."""

    enable: Annotated[bool, _help("take plugins")] = True
    socket: Annotated[
        str, _help("where plugins connect; who can open it can do what root can; empty: none comes by itself")
    ] = "/var/run/nri/nri.sock"
    plugin_dir: Annotated[str, _help("programs NN-NAME that the daemon launches; empty: none")] = "/opt/nri/plugins"
    config_dir: Annotated[str, _help("their settings: NN-NAME.conf or NAME.conf")] = "/etc/nri/conf.d"
    registration_timeout: Annotated[Seconds, _help("seconds a plugin has to register, and to be synchronized")] = 5.0
    request_timeout: Annotated[Seconds, _help("seconds a plugin has for anything else")] = 2.0
    validator: ValidatorSettings = ValidatorSettings()


class LogSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    level: Annotated[Literal["debug", "info", "warning", "error"], _help("least severity that is logged")] = "info"
    format: Annotated[Literal["auto", "console", "json"], _help("auto: console at a terminal, else JSON")] = "auto"


class Config(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    socket: Annotated[str, _help("unix socket of the CRI server, mode 0660")] = "/run/crishim/crishim.sock"
    state_dir: Annotated[str, _help("what survives a reboot: records, images, writable layers")] = "/var/lib/crishim"
    run_dir: Annotated[str, _help("what does not: namespaces, mounts, sockets; on tmpfs")] = "/run/crishim"
    drain_timeout: Annotated[Seconds, _help("how long SIGTERM waits for calls under way, in seconds")] = 10.0
    log: LogSettings = LogSettings()
    runtimes: RuntimeSettings = RuntimeSettings()
    pods: PodSettings = PodSettings()
    network: NetworkSettings = NetworkSettings()
    netdevices: NetDeviceSettings = NetDeviceSettings()
    images: ImageSettings = ImageSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    stream: StreamSettings = StreamSettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    nri: NriSettings = NriSettings()


def parse(text: str) -> Config:
    """Settings from TOML text. Raises ConfigError for a syntax error, an unknown key, a wrong type or value."""
    try:
        return convert(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None


def convert(settings: dict[str, Any]) -> Config:
    """Settings from a parsed file, or several merged (config_files.py). Raises ConfigError, as parse() does."""
    try:
        config = msgspec.convert(_with_known_handlers(settings), Config)
    except msgspec.ValidationError as error:
        raise ConfigError(_name_key(str(error))) from None
    for problem in config_values.problems(config):
        raise ConfigError(problem)
    return config


def _with_known_handlers(settings: dict[str, Any]) -> dict[str, Any]:
    """Merge the given handlers into crun and runc; keys that are not given keep their defaults."""
    runtimes = settings.get("runtimes")
    given = runtimes.get("handlers") if isinstance(runtimes, dict) else None
    if not isinstance(runtimes, dict) or not isinstance(given, dict):
        return settings
    changed = {
        name: _HANDLERS.get(name, {}) | facts if isinstance(facts, dict) else facts for name, facts in given.items()
    }
    return settings | {"runtimes": runtimes | {"handlers": _HANDLERS | changed}}


def _name_key(message: str) -> str:
    """msgspec's message with the key first: "log.level: invalid enum value 'loud'; one of: debug, info, ..."."""
    text, _, where = message.partition(" - at `")
    key = where.rstrip("`").removeprefix("$").lstrip(".")
    if text.startswith("Object contains unknown field `"):
        field = text.split("`")[1]
        return f"{f'{key}.' if key else ''}{field}: unknown key"
    choices = f"; one of: {', '.join(_choices(key))}" if text.startswith("Invalid enum value") else ""
    return f"{key or 'top level'}: {text[0].lower()}{text[1:]}{choices}"


def _choices(key: str) -> list[str]:
    """The values a key of Literal type may have."""
    hint: Any = Config
    for part in key.replace("[...]", ".*").split("."):
        hint = get_args(hint)[1] if part == "*" else get_type_hints(hint, include_extras=True)[part]
        hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return list(get_args(hint))
