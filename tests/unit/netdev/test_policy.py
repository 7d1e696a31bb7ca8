"""Rules about annotations: who may have what, and what a refusal says."""

import pytest

from crishim.device_rules import Rule
from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.netdev.policy import Grant, Policy, Terms
from crishim.netdev.records import Attachment, Captured, DeviceRequest, Mover, PodRef, Source, State
from crishim.netdev.validate import RequestContext, resolve

POD = PodRef(id="pod-a", netns="/run/a", title="team-a/web", namespace="team-a")
RULES = [
    Rule(devices=["ens[5-8]", "fast*"], kinds=["physical", "macvlan"], namespaces=["team-a", "lab-*"]),
    Rule(devices=["ens5"], namespaces=["team-b"]),
]
HOST = (
    Link(index=5, name="ens5"),
    Link(index=6, name="eth1", altnames=("fast-one",), kind="veth"),
    Link(index=9, name="x"),
)


def denied(device: str, namespace: str, rules: list[Rule] = RULES, held: tuple[Attachment, ...] = ()) -> str:
    pod = PodRef(id="pod-a", netns="/run/a", title=f"{namespace}/web", namespace=namespace)
    with pytest.raises(CrishimError) as caught:
        resolve(
            [DeviceRequest(device=device, source=Source.ANNOTATION)],
            RequestContext(pod, HOST, (), held, Terms(Policy(rules))),
        )
    assert caught.value.kind is Kind.DENIED
    assert device in str(caught.value)
    assert f"{namespace}/web" in str(caught.value)
    return str(caught.value)


def allowed(device: str, namespace: str, source: Source = Source.ANNOTATION, rules: list[Rule] = RULES) -> bool:
    pod = PodRef(id="pod-a", netns="/run/a", namespace=namespace)
    return bool(
        resolve([DeviceRequest(device=device, source=source)], RequestContext(pod, HOST, (), (), Terms(Policy(rules))))
    )


@pytest.mark.parametrize("namespace", ["team-a", "lab-7", "team-b"])
def test_a_rule_gives_its_devices_to_its_namespaces(namespace: str) -> None:
    """Patterns of both; hardware, which has no kind, is called physical; the second rule counts as well."""
    assert allowed("ens5", namespace)


def test_a_refusal_names_device_pod_and_rule() -> None:
    """The rule that comes nearest, or that there is none."""
    assert "netdevices.allow has no rules" in denied("ens5", "team-a", [])
    assert "no rule of netdevices.allow gives it to namespace team-c" in denied("ens5", "team-c")
    assert "netdevices.allow[0] is for kinds physical, macvlan, and it is veth" in denied("eth1", "team-a")
    assert "netdevices.allow" in denied("x", "team-a")


@pytest.mark.parametrize("source", [Source.CDI, Source.NRI, Source.COMMAND])
def test_roots_sources_need_no_rule(source: Source) -> None:
    """CDI files, NRI plugins and the runtime's socket are root's."""
    assert allowed("x", "anybody", source, [])


def test_names_are_what_the_host_calls_the_device() -> None:
    """A rule's pattern may mean an altname; the name asked for by counts only as one of the device's own."""
    rules = [Rule(devices=["fast-*"], namespaces=["*"])]
    assert allowed("eth1", "team-a", rules=rules)
    assert allowed("fast-one", "team-a", rules=rules)
    denied("ens5", "team-a", rules)
    denied("6", "team-a")
    denied("ens*", "team-a")
    denied("ENS5", "team-a")


def test_a_refusal_tells_nothing_of_the_host() -> None:
    """A device that is not there, and one that another pod has, are refused in the same words as one that is there."""
    other = Attachment(
        id="0" * 16,
        pod=PodRef(id="pod-b", netns="/run/b", title="secret/holder"),
        netns_inode=1,
        state=State.READY,
        mover=Mover.BUILTIN,
        sources=("cdi: v/c=a",),
        wanted="net1",
        name="net1",
        host=Captured(index=7, name="gone0"),
    )
    texts = {denied(d, "team-c", held=(other,)).replace(d, "DEVICE") for d in ("x", "gone0", "none0")}
    assert len(texts) == 1
    assert "secret" not in texts.pop()


def test_what_roots_source_gives_anyway_is_not_denied() -> None:
    """A CDI device that an annotation of the same container names too; alone the annotation is refused."""
    view = RequestContext(POD, HOST, (), (), Terms(Policy()))
    requests = [DeviceRequest(device="x", source=s) for s in (Source.CDI, Source.ANNOTATION)]
    (merged,) = resolve(requests, view)
    assert not merged.by_annotation
    with pytest.raises(CrishimError):
        resolve(requests[1:], view)


def test_grants() -> None:
    """For a list of the host's links: which rules give one, and to whom."""
    policy = Policy(RULES)
    assert policy.grants(("ens5",), "") == [
        Grant("netdevices.allow[0]", ("team-a", "lab-*")),
        Grant("netdevices.allow[1]", ("team-b",)),
    ]
    assert policy.grants(("fast9",), "veth") == []
