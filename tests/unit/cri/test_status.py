"""Records as the CRI shows them."""

import pytest
from msgspec.structs import replace

from crishim.cri.containers import STATES, container_status
from crishim.cri.pods import pod_status
from crishim.cri.status import check_cidrs
from crishim.errors import CrishimError, Kind
from crishim.lifecycle import ContainerState, PodState, is_visible_container
from crishim.model import Network, ResolvedMount, User
from crishim.pb import cri_pb2 as cri
from tests.unit.cri.records import container, pod

NETWORK = Network(name="n", conflist=b"", capability_args=b"", ips=("10.0.0.1", "fd00::1", "10.0.0.2"))


def test_every_visible_state_has_a_picture() -> None:
    """All but CREATING, which is not shown."""
    assert set(STATES) == {s for s in ContainerState if is_visible_container(s)}


@pytest.mark.parametrize("state", [s for s in PodState if s is not PodState.CREATING])
def test_a_pods_addresses(state: PodState) -> None:
    """The first as ip, the others beside it; a pod that is not ready has none: they may be another's by now."""
    status = pod_status(pod(state=state, network=NETWORK))
    ready = state is PodState.READY
    assert status.network.ip == ("10.0.0.1" if ready else "")
    assert [a.ip for a in status.network.additional_ips] == (["fd00::1", "10.0.0.2"] if ready else [])
    assert status.state == (cri.SANDBOX_READY if ready else cri.SANDBOX_NOTREADY)


def test_a_pods_status() -> None:
    """What it was made with comes back."""
    status = pod_status(pod(labels={"a": "b"}, handler="runc"))
    assert status.metadata.name == "name-p1"
    assert (dict(status.labels), status.runtime_handler) == ({"a": "b"}, "runc")
    assert status.linux.namespaces.HasField("options")
    assert status.network.ip == ""
    assert status.created_at > 0


@pytest.mark.parametrize("state", list(STATES))
def test_a_containers_status(state: ContainerState) -> None:
    """The fields every client reads are never empty, in no state."""
    status = container_status(container(state=state, stop_signal=3, user=User(uid=5, gid=6, groups=(6, 7))))
    assert status.state == STATES[state]
    assert status.id
    assert status.metadata.name
    assert status.created_at > 0
    assert status.image.image == "example.org/app:1"  # as the pod's author wrote it
    assert status.image_ref == status.image_id == "sha256:1"
    assert status.annotations == {"a": "b"}
    assert status.stop_signal == cri.SIGNAL_SIGQUIT
    assert status.HasField("resources")
    user = status.user.linux
    assert (user.uid, user.gid, list(user.supplemental_groups)) == (5, 6, [6, 7])


def test_mounts() -> None:
    """As requested, but an image volume has the reference of what was mounted; the record is not changed."""
    config = cri.ContainerConfig(metadata=cri.ContainerMetadata(name="c"))
    config.mounts.add(host_path="/h", container_path="/a", readonly=True)
    config.mounts.add(container_path="/b", image=cri.ImageSpec(image="volume"), image_sub_path="sub")
    record = container(
        mounts=(
            ResolvedMount(container_path="/a", host_path="/resolved"),
            ResolvedMount(container_path="/b", image_id="sha256:9", image_ref="repo@sha256:9"),
        )
    )
    record = replace(record, config=config.SerializeToString())
    plain, volume = container_status(record).mounts
    assert plain == config.mounts[0]
    assert (volume.image.image, volume.image.image_ref) == ("volume", "repo@sha256:9")
    assert (volume.host_path, volume.image_sub_path) == ("", "sub")


@pytest.mark.parametrize("text", ["10.0.0.0/24", "10.0.0.0/24,fd00::/64", "10.0.0.5/24", "10.0.0.0/24, fd00::/64"])
def test_cidrs(text: str) -> None:
    """One network or several, as given."""
    assert check_cidrs(text) == text


@pytest.mark.parametrize("text", ["ten", "10.0.0.0/33", "10.0.0.0/24,", ","])
def test_cidrs_that_are_none(text: str) -> None:
    """INVALID names the part."""
    with pytest.raises(CrishimError, match="is not a network") as caught:
        check_cidrs(text)
    assert caught.value.kind is Kind.INVALID
