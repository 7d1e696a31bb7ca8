"""The way home on made-up links: under which name and ifindex."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from crishim.errors import CrishimError
from crishim.netdev.restore import ReturnOutcome
from tests.unit.netdev.fake_addresses import address
from tests.unit.netdev.fake_links import attachment, veth
from tests.unit.netdev.fake_steps import KNOWN, WAS, Steps, at_home, empty, in_pod, restore


def test_names_a_pod_gave_it(steps: Steps) -> None:
    """Go before the move; an own one that is taken on the host by now goes, too, and is said."""
    known = attachment(host=replace(WAS, altnames=("also", "second")))
    host = empty()
    host.links[9] = veth(9, "also")
    pod = in_pod(altnames=("orphan", "also", "second", KNOWN.altname))
    outcome = restore(known, host, pod)
    assert [x for x in pod.done if x[0] == "remove altname"] == [
        ("remove altname", 5, "orphan"),
        ("remove altname", 5, "also"),
    ]
    assert set(host.links[5].altnames) == {"second", "also"}
    assert outcome.problems == ()
    pod = in_pod(altnames=("s" * 100,))
    pod.refuse = {"remove altname": errno.EPERM}
    said = restore(known, empty(), pod).problems
    assert said[0] == f"the alternative name {'s' * 64} was not taken off: Operation not permitted"


def test_its_ifindex_may_be_taken(steps: Steps) -> None:
    """Seen before, or found out by the kernel: another one then."""
    host, pod = empty(), in_pod()
    host.links[5] = veth(5, "other")
    host.devices[5] = 77
    assert restore(KNOWN, host, pod) == ReturnOutcome("demo0", (), "", "", 6)
    assert pod.done == [("move", 5, "demo0", False, None)]
    host, pod = empty(), in_pod()
    tries = []
    act = pod.act

    def race(*what: Any) -> None:
        tries.append(what)
        if what[0] == "move" and what[-1] is not None:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        act(*what)

    pod.act = race
    assert restore(KNOWN, host, pod).name == "demo0"
    assert [x[-1] for x in tries] == [5, None]


FALLBACK = f"demo0-{KNOWN.id[:4]}"


def test_its_name_may_be_taken(steps: Steps) -> None:
    """The fallback, said once; addresses have that name's label."""
    steps.addresses.found[6] = []
    known = attachment(host=replace(WAS, addresses=(address("192.0.2.7/24", 0x80, label="demo0:web"),)))
    host, pod = empty(), in_pod()
    host.links[5] = veth(5, "demo0")
    host.devices[5] = 77
    outcome = restore(known, host, pod)
    assert outcome.name == FALLBACK
    assert outcome.problems == (f"the name demo0 is taken on the host: the device is back as {FALLBACK}",)
    assert [(a.label, str(a)) for a in steps.addresses.found[6]] == [(f"{FALLBACK}:web", "192.0.2.7/24")]
    assert host.links[6].name == FALLBACK


def test_a_name_that_is_free_again(steps: Steps) -> None:
    """Back from the fallback; its own altname is not in the way; a taken one is said again."""
    host = at_home(name="dev5", altnames=("demo0", KNOWN.altname, "orphan"))
    assert restore(KNOWN, host, None) == ReturnOutcome("demo0", (), "", "", 5)
    assert host.links[5].altnames == ("also",)
    host = at_home(name="dev5")
    host.links[9] = veth(9, "demo0")
    said = f"the name demo0 is taken on the host: the device is back as {FALLBACK}"
    assert restore(KNOWN, host, None) == ReturnOutcome(FALLBACK, (said,), "", "", 5)
    assert restore(KNOWN, host, None) == ReturnOutcome(FALLBACK, (), "", "", 5)  # it has it already


def test_its_name_may_be_lo_s(steps: Steps) -> None:
    """Whose ifindex is 1, and which may be renamed like any other."""
    host = empty()
    host.links[1] = veth(1, "demo0")
    assert restore(KNOWN, host, in_pod()).name == FALLBACK


def test_a_name_the_kernel_does_not_give(steps: Steps) -> None:
    host = at_home(name="dev5")
    host.refuse = {"change": errno.EPERM}
    outcome = restore(KNOWN, host, None)
    said = "the device that was demo0 is called dev5 now: it was not renamed: Operation not permitted"
    assert (outcome.name, outcome.problems) == ("dev5", (said,))
    assert steps.place.name == "dev5"


def test_no_name_is_left(steps: Steps) -> None:
    host, pod = empty(), in_pod()
    host.links[9] = veth(9, "demo0", altnames=tuple(f"demo0-{KNOWN.id[i : i + 4]}" for i in range(13)))
    with pytest.raises(CrishimError, match="no name is free"):
        restore(KNOWN, host, pod)


def test_alternative_names_come_back(steps: Steps) -> None:
    known = attachment(host=replace(WAS, altnames=("also", "second")))
    host = at_home()
    restore(known, host, None)
    assert host.links[5].altnames == ("also", "second")
    host = at_home()
    host.refuse = {"add altname": errno.EEXIST}
    assert restore(known, host, None).problems == ("the alternative name second was not restored: File exists",)
    host = at_home()
    host.refuse = {"remove altname": errno.EPERM}
    said = f"the alternative name {KNOWN.altname} was not taken off: Operation not permitted"
    assert restore(KNOWN, host, None).problems == (said,)


def test_a_udev_that_renames_it_again(steps: Steps) -> None:
    """Twice it is done again; after the third time its name is told as it is."""
    host = at_home()
    times: list[int] = []

    def rename(most: int) -> Callable[[], None]:
        def once() -> None:
            if len(times) < most:
                times.append(0)
                host.replace(5, name="ens5")

        return once

    steps.meanwhile = rename(2)
    assert restore(KNOWN, host, None) == ReturnOutcome("demo0", (), "", "", 5)
    assert len(times) == 2
    times.clear()
    steps.meanwhile = rename(3)
    outcome = restore(KNOWN, host, None)
    said = "the device that was demo0 is called ens5 now: it is renamed again and again"
    assert outcome == ReturnOutcome("ens5", (said,), "", "", 5)


def test_one_that_never_left_keeps_the_name_the_host_gave_it(steps: Steps) -> None:
    """While its own is another link's; no pod has had a say in that. One that a pod named gets a fallback."""
    host = at_home(name="ens9")
    host.links[7], host.devices[7] = veth(7, "demo0"), 1007
    said = "demo0 was renamed to ens9 on the host, where demo0 is another's name by now"
    outcome = restore(attachment(host=WAS, index=0), host, None)
    assert (outcome.name, outcome.problems, host.links[5].name) == ("ens9", (said,), "ens9")
    assert restore(KNOWN, host, None).name == "demo0-0123"
