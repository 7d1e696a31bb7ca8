"""Who holds a name or a device, who asked, and what is said then."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import Link
from crishim.netdev.records import Captured, PodRef, Source
from crishim.netdev.validate import MergedRequest, RequestContext, assign_names, resolve
from tests.unit.netdev.fake_links import attachment
from tests.unit.netdev.test_validate import ANYTHING, POD, ask, link, plan, refused, view

OTHER = PodRef(id="pod-b", netns="/run/b", title="default/b")


def test_a_device_that_two_pods_had_by_one_name() -> None:
    """This pod's is meant, wherever it stands in the journal."""
    mine = attachment(pod=POD, host=Captured(index=5, name="demo0"))
    theirs = attachment(id="f" * 16, pod=OTHER, host=Captured(index=6, name="demo0"))
    for held in ((mine, theirs), (theirs, mine)):
        assert view(held=held).holder("demo0") == mine
    assert view(held=(theirs,)).holder("demo0") == theirs
    assert view(held=(theirs,)).holder("net1") is None


@pytest.mark.parametrize(
    ("sources", "by_annotation"),
    [
        (("annotation",), True),
        (("annotation: key", "annotation"), True),
        (("annotation", "cdi: v/c=annotation"), False),
        (("cdi",), False),
        (("nri: annotation",), False),
    ],
)
def test_whose_wish_it_is(sources: tuple[str, ...], by_annotation: bool) -> None:
    assert MergedRequest("demo0", "net1", sources).by_annotation is by_annotation


def test_the_nodes_own_device() -> None:
    """Root's sources may have it if the settings say so; others' reasons stand."""
    device, address = Link(index=5, name="demo0"), bytes([192, 0, 2, 7])
    seen = view(device)
    around = seen.around._replace(addresses={5: frozenset({address})})
    for allow in (False, True):
        terms = ANYTHING._replace(node_addresses=frozenset({address}), allow_node_device=allow)
        scene = seen._replace(around=around, terms=terms)
        for source in (Source.CDI, Source.ANNOTATION):
            request = [ask("demo0", "net1", source)]
            if allow and source is Source.CDI:
                assert plan(request, scene) == [("demo0", "net1")]
            else:
                assert "it has the node's address 192.0.2.7" in refused(request, scene)


def test_two_names_of_one_device() -> None:
    """Both names, each with who asked first; in one container, and of a device that is there already."""
    seen = view(link(5, "demo0"))
    requests = [ask("demo0", "net1", Source.CDI, "v/c=a"), ask("demo0", "net1"), ask("demo0", "net2", Source.NRI)]
    assert refused(requests, seen) == "device demo0 is asked for under two names: net1 (cdi: v/c=a) and net2 (nri)"
    with pytest.raises(CrishimError) as caught:
        resolve(requests, seen)
    assert caught.value.facts["names"] == ["net1", "net2"]
    mine = attachment(pod=POD, host=Captured(index=5, name="demo0"), sources=("cdi", "nri"))
    said = "device demo0 is asked for under two names: net1 (cdi) and net2 (annotation)"
    assert refused([ask("demo0", "net2")], view(held=(mine,))) == said


@pytest.mark.parametrize("request_name", ["a/b", "x" * 16])
def test_a_bad_name_is_told_first(request_name: str) -> None:
    """Before anything else is said of a device, also of one that is there already or nowhere."""
    mine = attachment(pod=POD, host=Captured(index=5, name="demo0"))
    for device in ("demo0", "none0"):
        refused([ask(device, request_name)], view(held=(mine,)), Kind.INVALID)


def test_a_host_name_no_pod_may_have() -> None:
    """Without a name the host's is checked."""
    with pytest.raises(CrishimError, match="cannot be eth0"):
        resolve([ask("eth0")], view(link(5, "eth0")))


def test_alternative_names_that_are_taken() -> None:
    """By a link's name or altname; the first is told."""
    device = link(5, "demo0", altnames=("free", "taken", "also"))
    seen = view(device, pod=(link(3, "also"), link(4, "x", altnames=("taken",))))
    said = "device demo0 cannot be given to pod default/a: its alternative name taken is taken in the pod"
    assert refused([ask("demo0", "net1")], seen) == said
    assert plan([ask("demo0", "net1")], view(link(5, "demo0", altnames=("free",)), pod=(link(3, "x"),)))


def test_who_has_a_name() -> None:
    """A device of ours, by the name its link has; an interface; by an altname, whose."""
    mine = attachment(pod=POD, host=Captured(index=9, name="demo9"), name="net9")
    theirs = attachment(id="f" * 16, pod=OTHER, host=Captured(index=8, name="demo8"), name="net3")
    pod = (link(3, "net9", altnames=("alias",)), link(4, "net3", altnames=("other",)))
    seen = view(link(5, "demo0"), pod=pod, held=(theirs, mine))
    for name, owner in (
        ("net9", "device demo9"),
        ("alias", "device demo9"),
        ("net3", "an interface of the pod"),
        ("other", "interface net3"),
    ):
        said = f"device demo0 cannot be {name} in pod default/a: {owner} is"
        assert refused([ask("demo0", name)], seen) == said


def test_devices_that_are_there_need_no_name() -> None:
    merged = MergedRequest("demo0", "net1", ("cdi",), attachment=attachment(pod=POD))
    seen: RequestContext = view(link(5, "demo1"))
    assert assign_names([merged], seen) == []
    new = MergedRequest("demo1", "net2", ("cdi",), link=link(5, "demo1"))
    assert assign_names([merged, new], seen) == [(new, "net2")]
