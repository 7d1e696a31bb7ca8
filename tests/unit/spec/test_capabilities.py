import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim import model
from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle, capabilities
from crishim.spec.capability_names import CAPABILITIES
from crishim.spec.inputs import Host

from .conftest import Apply, Make

ALL = frozenset(CAPABILITIES)
BASE = frozenset(bundle.base()["process"]["capabilities"]["bounding"])


def chosen(available: frozenset[str] = ALL, **lists: list[str]) -> set[str]:
    request = cri.Capability(**{f"{name}_capabilities": value for name, value in lists.items()})
    return capabilities.choose(BASE, request, available)[0]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], BASE),
        (["NET_ADMIN"], [], BASE | {"CAP_NET_ADMIN"}),
        (["CAP_NET_ADMIN"], ["CAP_CHOWN"], (BASE | {"CAP_NET_ADMIN"}) - {"CAP_CHOWN"}),
        ([], ["ALL"], frozenset()),
        (["CHOWN"], ["ALL"], {"CAP_CHOWN"}),
        (["ALL"], [], ALL),
        (["all"], ["CHOWN"], ALL - {"CAP_CHOWN"}),
        (["ALL"], ["ALL"], frozenset()),
        (["ALL", "SYS_TIME"], ["ALL"], {"CAP_SYS_TIME"}),
        (["CHOWN"], ["CHOWN"], BASE - {"CAP_CHOWN"}),
        (["CAP_ALL"], ["cap_sys_admin"], ALL - {"CAP_SYS_ADMIN"}),
    ],
)
def test_add_and_drop(add: list[str], drop: list[str], expected: frozenset[str]) -> None:
    """ALL is applied before single names, names with and without CAP_ are the same."""
    assert chosen(add=add, drop=drop) == expected


def test_unknown_capability_is_named() -> None:
    """A capability that does not exist is INVALID, not ignored."""
    with pytest.raises(CrishimError, match="no capability 'NET_ADMINISTRATOR'") as caught:
        chosen(drop=["NET_ADMINISTRATOR"])
    assert caught.value.kind is Kind.INVALID


@given(st.sampled_from(CAPABILITIES), st.booleans(), st.booleans())
def test_spellings_of_a_capability(name: str, prefix: bool, lower: bool) -> None:
    """Case and prefix do not matter."""
    spelled = name if prefix else name.removeprefix("CAP_")
    assert capabilities.canonical(spelled.lower() if lower else spelled) == name


@given(st.text())
def test_any_other_text_is_no_capability(text: str) -> None:
    """canonical() gives a known name or INVALID, never anything else."""
    try:
        assert capabilities.canonical(text) in ALL | {"CAP_ALL"}
    except CrishimError as error:
        assert error.kind is Kind.INVALID  # noqa: PT017


def test_ambient_is_in_every_other_set(make: Make, apply: Apply) -> None:
    """An ambient capability has to be permitted and inheritable (capabilities(7)); nothing else is inheritable."""
    config = cri.ContainerConfig()
    config.linux.security_context.capabilities.add_ambient_capabilities.append("NET_ADMIN")
    sets = apply(capabilities.process_capabilities, make(config=config)).spec["process"]["capabilities"]
    assert sets["ambient"] == sets["inheritable"] == ["CAP_NET_ADMIN"]
    for name in ("bounding", "permitted", "effective"):
        assert set(sets[name]) == BASE | {"CAP_NET_ADMIN"}


def test_a_dropped_capability_is_not_ambient() -> None:
    """drop wins over ambient."""
    request = cri.Capability(add_ambient_capabilities=["CHOWN"], drop_capabilities=["CHOWN"])
    assert capabilities.choose(BASE, request, ALL)[1] == set()


def test_base_is_bounded_by_the_daemon_and_said(make: Make, apply: Apply) -> None:
    """What the daemon does not hold is left out of the default set, with a note."""
    draft = apply(capabilities.process_capabilities, make(host=Host(capabilities=ALL - {"CAP_MKNOD"})))
    assert "CAP_MKNOD" not in draft.spec["process"]["capabilities"]["bounding"]
    assert "CAP_MKNOD" in draft.notes[0]


def test_all_means_all_the_daemon_has() -> None:
    """ALL is bounded without an error."""
    assert chosen(ALL - {"CAP_SYS_RESOURCE"}, add=["ALL"]) == ALL - {"CAP_SYS_RESOURCE"}


def test_a_capability_by_name_the_daemon_lacks_is_an_error() -> None:
    """Asked for by name and not to be had: PRECONDITION, rather than a container without it."""
    with pytest.raises(CrishimError, match="CAP_SYS_RESOURCE") as caught:
        chosen(ALL - {"CAP_SYS_RESOURCE"}, add=["SYS_RESOURCE"])
    assert caught.value.kind is Kind.PRECONDITION


def test_privileged_has_everything_and_no_inheritable(make: Make, apply: Apply) -> None:
    """privileged ignores the lists; the inheritable set stays empty (CVE-2022-24769)."""
    config = cri.ContainerConfig()
    config.linux.security_context.privileged = True
    config.linux.security_context.capabilities.drop_capabilities.append("ALL")
    sets = apply(capabilities.process_capabilities, make(config=config)).spec["process"]["capabilities"]
    assert set(sets["bounding"]) == ALL
    assert sets["inheritable"] == []


def test_a_user_namespace_is_not_bounded_by_the_daemon(make: Make, apply: Apply) -> None:
    """Who enters a user namespace has every capability in it."""
    config = cri.ContainerConfig()
    config.linux.security_context.capabilities.add_capabilities.append("SYS_RESOURCE")
    inputs = make(
        config=config,
        namespaces=model.NamespacePaths(user="/n/user"),
        host=Host(capabilities=ALL - {"CAP_SYS_RESOURCE"}),
    )
    sets = apply(capabilities.process_capabilities, inputs).spec["process"]["capabilities"]
    assert "CAP_SYS_RESOURCE" in sets["bounding"]
