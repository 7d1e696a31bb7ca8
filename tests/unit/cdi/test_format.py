"""The CDI file format: what is valid, in which version, and what names look like."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cdi import format as cdi
from crishim.errors import CrishimError, Kind

NET = {"netDevices": [{"hostInterfaceName": "demo0", "name": "net1"}]}


def spec(version: str = "1.1.0", edits: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    device = {"name": "a", "containerEdits": {"env": ["A=1"]} if edits is None else edits}
    return {"cdiVersion": version, "kind": "vendor.com/nic", "devices": [device]} | fields


def refusal(raw: object) -> str:
    with pytest.raises(cdi.InvalidSpec) as caught:
        cdi.parse(raw)
    return str(caught.value)


@pytest.mark.parametrize(
    ("oldest", "raw"),
    [
        ("1.1.0", spec(edits=NET)),
        ("1.1.0", spec(containerEdits=NET)),
        ("1.1.0", spec(edits={"intelRdt": {"schemata": ["L3:0=f"]}})),
        ("1.1.0", spec(edits={"intelRdt": {"enableMonitoring": True}})),
        ("0.7.0", spec(edits={"intelRdt": {"closID": "x"}})),
        ("0.7.0", spec(edits={"additionalGids": [5]})),
        ("0.6.0", spec(annotations={"a": "b"})),
        ("0.6.0", spec(kind="vendor.com/a.b")),
        ("0.5.0", spec(devices=[{"name": "0", "containerEdits": {"env": ["A=1"]}}])),
        ("0.5.0", spec(edits={"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/b"}]})),
        ("0.4.0", spec(edits={"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]})),
    ],
)
def test_each_field_needs_the_version_that_brought_it(oldest: str, raw: dict[str, Any]) -> None:
    """A file is valid from the version on that has all its fields, and the refusal names both versions."""
    position = cdi.VERSIONS.index(oldest)
    for version in cdi.VERSIONS[position:]:
        cdi.parse(raw | {"cdiVersion": version})
    text = refusal(raw | {"cdiVersion": cdi.VERSIONS[position - 1]})
    assert cdi.VERSIONS[position - 1] in text
    assert oldest in text


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "Expected"),
        (spec(version="1.2.0"), "1.2.0"),
        (spec(kind="vendor.com"), "vendor/class"),
        (spec(kind="1vendor/nic"), "vendor/class"),
        (spec(devices=[]), "no devices"),
        (spec(surprise=1), "surprise"),
        (spec(edits={}), "without any edit"),
        (spec(edits={"env": ["=x"]}), "'=x'"),
        (spec(edits={"env": ["x"]}), "'x'"),
        (spec(edits={"netDevices": [{"hostInterfaceName": "demo0"}]}), "name"),
        (spec(edits={"netDevices": [{"hostInterfaceName": "", "name": "x"}]}), "without a name"),
        (spec(edits={"deviceNodes": [{"path": "/dev/a", "type": "x"}]}), "type"),
        (spec(edits={"deviceNodes": [{"path": "/dev/a", "permissions": "rx"}]}), "'rx'"),
        (spec(edits={"deviceNodes": [{"path": ""}]}), "without a path"),
        (spec(edits={"mounts": [{"hostPath": "", "containerPath": "/x"}]}), "without a path"),
        (spec(edits={"hooks": [{"hookName": "later", "path": "/x"}]}), "later"),
        (spec(edits={"intelRdt": {"closID": "../x"}}), "closID"),
        (spec(edits={"additionalGids": [-1]}), "group"),
        (spec(devices=[{"name": "a b", "containerEdits": NET}]), "'a b'"),
        (spec(devices=[{"name": "a", "containerEdits": NET}] * 2), "twice"),
    ],
)
def test_an_invalid_file_says_why(raw: object, says: str) -> None:
    """Each rule of the format has a refusal that names the offending thing."""
    assert says in refusal(raw)


def test_nulls_are_absent_fields() -> None:
    """A YAML file with an empty containerEdits is as valid as one without."""
    assert cdi.parse(spec(containerEdits=None)) == cdi.parse(spec())


def test_names_come_once_fields_first() -> None:
    """CDI_devices come first, annotations in the order of their keys, each device once."""
    annotations = {"cdi.k8s.io/b": "v.com/c=z,v.com/c=x", "cdi.k8s.io/a": "v.com/c=y", "other": "v.com/c=w"}
    assert cdi.names(["v.com/c=x"], annotations) == ["v.com/c=x", "v.com/c=y", "v.com/c=z"]


@pytest.mark.parametrize("name", ["", "a", "v.com/c", "v.com/c=", "v.com=c", "/c=d", "v/c=-d", "v-/c=d", "v.com/c=d,"])
def test_an_unqualified_name_is_refused(name: str) -> None:
    """A name that is not vendor/class=device is INVALID, in the field and in an annotation, which is named."""
    for fields, annotations, place in (([name], {}, "CDI_devices"), ([], {"cdi.k8s.io/x": name}, "cdi.k8s.io/x")):
        with pytest.raises(CrishimError, match=place) as caught:
            cdi.names(fields, annotations)
        assert caught.value.kind is Kind.INVALID


def test_merging_keeps_the_order_and_the_asker() -> None:
    """Edits are appended device by device, groups once, and each network device knows who asked."""
    first = cdi.parse(spec(edits=NET | {"additionalGids": [1, 2]})).devices[0].container_edits
    second = cdi.parse(spec(edits={"env": ["B=2"], "additionalGids": [2, 3]})).devices[0].container_edits
    merged = cdi.merge(cdi.merge(cdi.Edits(), first, "v/c=a"), second, "v/c=b")
    assert merged.net_devices == (("demo0", "net1", "v/c=a"),)
    assert merged.env == ("B=2",)
    assert merged.gids == (1, 2, 3)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_document_is_parsed_or_refused(raw: object) -> None:
    """Whatever JSON or YAML holds, the answer is a Spec or InvalidSpec."""
    try:
        cdi.parse(raw)
    except cdi.InvalidSpec:
        cdi.device_names(raw)


@given(st.binary())
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    """Bytes that are no JSON are InvalidSpec, never another exception."""
    with contextlib.suppress(cdi.InvalidSpec):
        cdi.load_json(data)
