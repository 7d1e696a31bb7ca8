"""CNI's wire forms."""

import contextlib
import ipaddress
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cni import format as cni
from crishim.errors import CrishimError, Kind

LIST = {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "a"}, {"type": "b"}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def parse(**changes: Any) -> cni.NetworkList:
    return cni.parse_list(json.dumps(LIST | changes).encode(), "/net.d/x")


def test_a_list() -> None:
    """Name, version and plugins of a .conflist; the raw bytes are kept."""
    raw = json.dumps(LIST).encode()
    found = cni.parse_list(raw, "x")
    assert (found.name, found.version, found.types, found.disable_check) == ("net", "1.0.0", ("a", "b"), False)
    assert found.raw == raw


def test_a_single_configuration() -> None:
    """A .conf is a list of itself; without cniVersion it is 0.2.0."""
    found = cni.parse_list(b'{"name": "n", "type": "bridge", "bridge": "br0"}', "x")
    assert (found.version, found.types) == ("0.2.0", ("bridge",))
    assert found.plugins[0]["bridge"] == "br0"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no usable name"),
        (b'{"name": "../x", "type": "a"}', "no usable name"),
        (b'{"name": "..", "type": "a"}', "no usable name"),
        (b'{"name": 5, "type": "a"}', "no usable name"),
        (b'{"name": "n"}', "no usable type"),
        (b'{"name": "n", "plugins": []}', "at least one plugin"),
        (b'{"name": "n", "plugins": {}}', "at least one plugin"),
        (b'{"name": "n", "plugins": [5]}', "no usable type"),
        (b'{"name": "n", "plugins": [{"type": "../../bin/sh"}]}', "no usable type"),
        (b'{"name": "n", "plugins": [{"type": "a", "capabilities": []}]}', "capabilities of plugin a"),
        (b'{"name": "n", "type": "a", "cniVersion": 1}', "cniVersion"),
    ],
)
def test_what_is_no_list(raw: bytes, fault: str) -> None:
    """INVALID names the file and what is wrong."""
    with pytest.raises(CrishimError, match=r"CNI configuration /net\.d/x: ") as caught:
        cni.parse_list(raw, "/net.d/x")
    assert caught.value.kind is Kind.INVALID
    assert fault in caught.value.message


@given(JSON)
def test_any_json(data: Any) -> None:
    """Whatever JSON a file holds: a list, or INVALID."""
    with contextlib.suppress(CrishimError):
        assert cni.parse_list(json.dumps(data).encode(), "x").plugins


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    """Whatever bytes a file holds or a plugin prints: a result, or an error of ours."""
    with contextlib.suppress(CrishimError):
        cni.parse_list(data, "x")
    with contextlib.suppress(CrishimError):
        assert isinstance(cni.parse_result(data, "p"), dict)
    cni.plugin_error(data, "p", "ADD")


@pytest.mark.parametrize(
    ("version", "wanted", "yes"),
    [
        ("1.0.0", (1, 0, 0), True),
        ("1.1.0", (1, 0, 0), True),
        ("0.4.0", (1, 0, 0), False),
        ("0.10.0", (0, 4, 0), True),
        ("1.0.0-rc1", (1, 0, 0), True),
        ("nonsense", (0, 1, 0), False),
        ("", (0, 1, 0), False),
    ],
)
def test_versions(version: str, wanted: tuple[int, int, int], yes: bool) -> None:
    """Compared by number; nonsense is the oldest."""
    assert cni.at_least(version, wanted) is yes


ARGS = {"portMappings": [{"hostPort": 1}], "bandwidth": {}, "dns": {"servers": ["1.1.1.1"]}}


def test_a_plugins_input() -> None:
    """Name and version of the list, its own keys, prevResult; runtimeConfig for what it declares and there is."""
    network = parse()
    plugin = {"type": "a", "x": 1, "capabilities": {"portMappings": True, "bandwidth": True, "dns": False, "mac": True}}
    given = json.loads(cni.plugin_input(network, plugin, ARGS, {"ips": []}))
    assert given == {
        "type": "a",
        "x": 1,
        "name": "net",
        "cniVersion": "1.0.0",
        "runtimeConfig": {"portMappings": [{"hostPort": 1}]},
        "prevResult": {"ips": []},
    }
    bare = json.loads(cni.plugin_input(network, {"type": "a"}, ARGS, None))
    assert bare == {"type": "a", "name": "net", "cniVersion": "1.0.0"}


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4), JSON)
def test_a_plugins_input_is_never_short(extra: dict[str, Any], previous: Any) -> None:
    """Every key of the plugin but capabilities arrives; the list's name and version win."""
    plugin = extra | {"type": "a", "capabilities": {}}
    given = json.loads(cni.plugin_input(parse(), plugin, {}, previous))
    for key in plugin.keys() - {"capabilities", "name", "cniVersion", "prevResult"}:
        assert given[key] == plugin[key]
    assert (given["name"], given["cniVersion"]) == ("net", "1.0.0")
    assert given.get("prevResult") == (previous if previous is not None else extra.get("prevResult"))


@pytest.mark.parametrize(
    ("stdout", "kind", "text"),
    [
        ({"code": 7, "msg": "bad"}, Kind.INTERNAL, "CNI plugin p failed to ADD: bad"),
        ({"code": 11, "msg": "later", "details": "soon"}, Kind.UNAVAILABLE, "CNI plugin p failed to ADD: later; soon"),
        ({"msg": 5}, Kind.INTERNAL, "CNI plugin p failed to ADD: 5"),
    ],
)
def test_a_plugins_error(stdout: dict[str, Any], kind: Kind, text: str) -> None:
    """Its words, in one sentence; "try again later" is UNAVAILABLE."""
    error = cni.plugin_error(json.dumps(stdout).encode(), "p", "ADD")
    assert error is not None
    assert (error.kind, error.message, error.facts["plugin"]) == (kind, text, "p")


@pytest.mark.parametrize("stdout", [b"", b"text", b"[]", b"{}", b'{"code": 7}', b'{"msg": ""}'])
def test_what_is_no_error(stdout: bytes) -> None:
    """Without a message there is no error object."""
    assert cni.plugin_error(stdout, "p", "ADD") is None


def addresses(ips: Any, interfaces: Any = None) -> tuple[str, ...]:
    return cni.addresses({"ips": ips, "interfaces": interfaces})


def test_addresses() -> None:
    """Those of eth0 in the sandbox, or of no interface, in their order, each once."""
    interfaces = [
        {"name": "br0"},
        {"name": "eth0", "sandbox": "/ns"},
        {"name": "eth0"},
        {"name": "net1", "sandbox": "/ns"},
    ]
    ips = [
        {"address": "10.0.0.1/24", "interface": 0},
        {"address": "fd00::2/64", "interface": 1},
        {"address": "10.0.0.2/24", "interface": 1},
        {"address": "10.0.0.3/24", "interface": 2},
        {"address": "10.0.0.4/24", "interface": 3},
        {"address": "10.0.0.5/24"},
        {"address": "10.0.0.2/24"},
        {"address": "10.0.0.6/24", "interface": 9},
    ]
    assert addresses(ips, interfaces) == ("fd00::2", "10.0.0.2", "10.0.0.5", "10.0.0.6")
    assert addresses(None) == ()
    assert cni.addresses({}) == ()


def test_addresses_before_0_3() -> None:
    """ip4 and ip6 in place of ips."""
    result = {"ip4": {"ip": "10.0.0.1/24"}, "ip6": {"ip": "fd00::1/64"}}
    assert cni.addresses(result) == ("10.0.0.1", "fd00::1")


@given(JSON, JSON, JSON)
def test_a_result_may_be_anything(ips: Any, interfaces: Any, ip4: Any) -> None:
    """A plugin's nonsense is an error that names it; what gets through has addresses that are some."""
    raw = json.dumps({"ips": ips, "interfaces": interfaces, "ip4": ip4}).encode()
    try:
        result = cni.parse_result(raw, "odd")
    except CrishimError as error:
        said = error.message
        assert said.startswith("CNI plugin odd answered ")
    else:
        for ip in cni.addresses(result):
            ipaddress.ip_address(ip)


@pytest.mark.parametrize(
    "result",
    [
        {"ips": [{"address": "10.0.0.300/24"}]},
        {"ips": [{"address": 5}]},
        {"ips": [None]},
        {"ips": True},
        {"ips": [{"interface": 0, "address": "10.0.0.1/8"}], "interfaces": [None]},
        {"ips": [{"interface": 0, "address": "10.0.0.1/8"}], "interfaces": {"a": 1}},
    ],
)
def test_results_that_are_none(result: dict[str, Any]) -> None:
    """INTERNAL, before anything of it is recorded."""
    with pytest.raises(CrishimError, match="CNI plugin p answered interfaces or addresses that are none") as caught:
        cni.parse_result(json.dumps(result).encode(), "p")
    assert caught.value.kind is Kind.INTERNAL


def test_results_without_addresses() -> None:
    """A plugin need not give any."""
    assert cni.parse_result(b'{"cniVersion": "1.0.0"}', "p") == {"cniVersion": "1.0.0"}
