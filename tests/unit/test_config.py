"""Settings: parsing, and the default file."""

import contextlib
import tomllib
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.default_config import render_default
from crishim.config import (
    Config,
    ConfigError,
    parse,
)


def test_nothing_is_the_defaults() -> None:
    """An empty file keeps every default; so does the printed one."""
    assert parse("") == Config()
    assert parse(render_default()) == Config()


def sections(kind: type[msgspec.Struct] = Config, prefix: str = "") -> list[tuple[str, Any]]:
    """(key, type hint) of every setting, sections entered."""
    found = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if name.startswith("__"):
            continue
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += sections(inner, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", hint))
    return found


def test_every_setting_is_described() -> None:
    """Each setting has a description, which is what the default file's comments are made of."""
    text = render_default()
    for key, hint in sections():
        assert get_origin(hint) is Annotated, key
        descriptions = [m.description for m in get_args(hint)[1:] if isinstance(m, msgspec.Meta) and m.description]
        assert descriptions, key
        assert f"# {descriptions[0]}" in text, key


def test_all_keys_are_in_the_default_file() -> None:
    """The printed file has every key, at its place."""
    printed = tomllib.loads(render_default())
    for key, _ in sections():
        table: Any = printed
        *path, last = key.split(".")
        for part in path:
            table = table[part]
        assert last in table, key


BAD_RULES = [
    ("5", ": expected `object`"),
    ("{}", ": object missing required field `devices`"),
    ("{devices = ['a']}", ": object missing required field `namespaces`"),
    ("{devices = [], namespaces = ['*']}", ".devices: expected `array` of length >= 1"),
    ("{devices = 'a', namespaces = ['*']}", ".devices: expected `array`, got `str`"),
    ("{devices = ['a'], namespaces = ['*'], name = 'x'}", ".name: unknown key"),
    ("{devices = [''], namespaces = ['*']}", ".devices: no interface can be called ''"),
    ("{devices = ['a/b'], namespaces = ['*']}", ".devices: no interface can be called 'a/b'"),
    ("{devices = ['a b'], namespaces = ['*']}", ".devices: no interface can be called 'a b'"),
    ("{devices = ['a[0-9'], namespaces = ['*']}", ".devices: no interface can be called 'a[0-9'"),
    ("{devices = ['" + "a" * 128 + "'], namespaces = ['*']}", ".devices: no interface can be called 'aaa"),
    ("{devices = ['a'], namespaces = ['']}", ".namespaces: no namespace can be called ''"),
    ("{devices = ['a'], namespaces = ['a/b']}", ".namespaces: no namespace can be called 'a/b'"),
    ("{devices = ['a'], namespaces = ['*'], kinds = ['']}", ".kinds: '' is no kind of link"),
    ("{devices = ['a'], namespaces = ['*'], kinds = ['bridge']}", ".kinds: a bridge cannot leave the host"),
]


BAD_ENDPOINTS = ("127.0.0.1", "9090", "::1:9090", "127.0.0.1:", "127.0.0.1:http", "[::1]", "1.2.3.4:65536", "a b:1")
BAD_URLS = ("127.0.0.1:4318", "ftp://a", "http://", "http://:4318", "http://a:x", "http://a/b c", "http://a:70000/")
BAD_HOSTS = ("", "127.0.0.1:80", "[::1]", "no address", "1.2.3.400", "-x")
RELATIVE = (("config_dir", "'cni'"), ("plugin_dirs", "['/opt/cni/bin', 'cni']"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", "not TOML: "),
        ("colour = 1", "colour: unknown key"),
        ("[log]\nlevl = 'info'", "log.levl: unknown key"),
        ("socket = 5", "socket: expected `str`, got `int`"),
        ("[log]\nlevel = 'loud'", "log.level: invalid enum value 'loud'; one of: debug, info, warning, error"),
        ("[network]\nchoose = 'last'", "network.choose: invalid enum value 'last'; one of: newest, first"),
        (
            "[runtimes.handlers.crun]\nnetdevices = 'x'",
            "runtimes.handlers[...].netdevices: invalid enum value 'x'; one of: auto, runtime, builtin",
        ),
        ("[runtimes]\npids_limit = -1", "runtimes.pids_limit: "),
        ("[runtimes]\ntimeout = nan", "runtimes.timeout: "),
        ("[runtimes]\ntimeout = inf", "runtimes.timeout: "),
        ("[runtimes.handlers.'a/b']\npath = 'x'", "runtimes.handlers: no handler can be called 'a/b'"),
        ("[runtimes.handlers.crun]\npath = ''", "runtimes.default: the handler 'crun' has no path"),
        *((f"[metrics]\naddress = '{a}'", f"metrics.address: '{a}' is not HOST:PORT") for a in BAD_ENDPOINTS),
        *((f"[stream]\naddress = '{a}'", f"stream.address: '{a}' is not an address") for a in BAD_HOSTS),
        *((f"[network]\n{key} = {value}", f"network.{key}: 'cni' is not an absolute path") for key, value in RELATIVE),
        *((f"[tracing]\nendpoint = '{u}'", f"tracing.endpoint: '{u}' is not a URL") for u in BAD_URLS),
        ("[metrics]\ntls_key = '/k'", "metrics.tls_cert and metrics.tls_key belong together"),
        ("[netdevices]\ncdi_dirs = ['/etc/cdi', 'cdi']", "netdevices.cdi_dirs: 'cdi' is not an absolute path"),
        ("[nri]\nplugin_dir = 'cni'", "nri.plugin_dir: 'cni' is not an absolute path"),
        ("[images]\npolicy = 'policy.json'", "images.policy: 'policy.json' is not an absolute path"),
        ("[stream]\ntls_cert = 'c'\ntls_key = '/k'", "stream.tls_cert: 'c' is not an absolute path"),
        ("[pods.sysctls]\n'kernel.panic' = '1'", "pods.sysctls: kernel.panic is not namespaced"),
        ("[pods.sysctls]\n'net..x' = '1'", "pods.sysctls: 'net..x' is no sysctl"),
        ("[network]\ntimeout = -1", "network.timeout: "),
        ("[network]\ntimeout = true", "network.timeout: "),
        ("[network]\nplugin_dirs = ['/a', 5]", "network.plugin_dirs[1]: "),
        ("[stream]\nport = 65536", "stream.port: "),
        ("[runtimes]\ndefault = 'x'", "runtimes.default: "),
        ("[runtimes]\nhandlers = 5", "runtimes.handlers: "),
        ("[stream]\ntls_key = '/k'", "stream.tls_cert and stream.tls_key belong together"),
        ("log = 'info'", "log: expected `object`"),
        ("[pods]\ncgroup_parent = 'relative'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/a/../b'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_parent = '/a\u0085'", "pods.cgroup_parent: "),
        ("[pods]\ncgroup_roots = ['/', 'a']", "pods.cgroup_roots: "),
        ("[pods]\ncgroup_roots = ['/a/./b']", "pods.cgroup_roots: "),
        ("[netdevices]\nnode_addresses = ['10.0.0.300']", "netdevices.node_addresses: '10.0.0.300' is no IP address"),
        *((f"[netdevices]\nallow = [{rule}]", f"netdevices.allow[0]{message}") for rule, message in BAD_RULES),
    ],
)
def test_errors_name_the_key(text: str, message: str) -> None:
    """One line, which begins with the key as it stands in the file."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Whatever is in the file: settings, or a ConfigError of one line."""
    with contextlib.suppress(ConfigError):
        assert isinstance(parse(text), Config)


def test_handlers_are_added_to_the_known_ones() -> None:
    """One handler more takes none away; one that is known keeps what is not said of it."""
    config = parse("[runtimes.handlers.kata]\npath = '/k'\nnetdevices = 'builtin'")
    assert list(config.runtimes.handlers) == ["crun", "runc", "kata"]
    assert config.runtimes.handlers["kata"].netdevices == "builtin"
    changed = parse("[runtimes.handlers.runc]\nnetdevices = 'builtin'").runtimes.handlers["runc"]
    assert (changed.path, changed.netdevices) == ("runc", "builtin")


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "[::1]:9090", ":9090", "localhost:0", "node-1.example:80"])
def test_metrics_addresses(address: str) -> None:
    """What can be listened at is taken."""
    assert parse(f"[metrics]\naddress = '{address}'").metrics.address == address


@pytest.mark.parametrize("url", ["http://127.0.0.1:4318", "https://otel.example", "http://[::1]:4318/v1/traces"])
def test_collectors(url: str) -> None:
    assert parse(f"[tracing]\nendpoint = '{url}'").tracing.endpoint == url


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::", "localhost", "node-1.example", "0.0.0.0"])
def test_stream_addresses(address: str) -> None:
    assert parse(f"[stream]\naddress = '{address}'").stream.address == address
