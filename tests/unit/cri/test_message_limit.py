"""Lists of a whole node fit into one message, whatever its pods bring with them."""

import pytest

from crishim.cri import message_limit
from crishim.cri.message_limit import fit
from crishim.cri.server import MESSAGE_LIMIT
from crishim.pb import cri_pb2 as cri
from crishim.spec.checks import MAX_ANNOTATIONS, MAX_CONFIG, MAX_LABELS, too_large


def pod(number: int, annotations: int, labels: int, length: int = 300) -> cri.PodSandbox:
    """With so many bytes of annotations, in two, and of labels, each of them short."""
    metadata = cri.PodSandboxMetadata(name="n" * 253, namespace="s" * 63, uid="u" * 36)
    found = cri.PodSandbox(id=f"{number:064x}", metadata=metadata)
    if annotations:
        found.annotations.update({"hash": "abc", "long": "x" * (annotations - 11)})
    found.labels.update({f"{i:08d}": "v" * (length - 8) for i in range(labels // length)})
    return found


def test_500_of_the_largest_pods_fit() -> None:
    items = [pod(n, MAX_ANNOTATIONS, MAX_LABELS) for n in range(500)]
    response = cri.ListPodSandboxResponse(items=fit(items, "pods"))
    assert response.ByteSize() < MESSAGE_LIMIT
    assert all(len(p.labels) == MAX_LABELS // 300 for p in response.items)


def test_the_longest_annotations_go_and_the_short_stay() -> None:
    response = cri.ListPodSandboxResponse(items=fit([pod(n, MAX_ANNOTATIONS, 3000) for n in range(110)], "pods"))
    assert response.ByteSize() < MESSAGE_LIMIT
    assert all(dict(p.annotations) == {"hash": "abc"} for p in response.items)


def test_what_fits_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    message_limit._warned.clear()
    items = [pod(n, 64 << 10, 3000) for n in range(110)]
    before = [p.SerializeToString(deterministic=True) for p in items]
    assert [p.SerializeToString(deterministic=True) for p in fit(items, "pods")] == before
    assert not caplog.records


def test_records_of_an_earlier_version() -> None:
    """Three pods with 7 MiB of annotations, and with 7 MiB of labels: the others' list is what counts."""
    for large in (pod(1, 7 << 20, 0), pod(1, 0, 7 << 20, length=7 << 20)):
        items = [cri.PodSandbox.FromString(large.SerializeToString()) for _ in range(3)] + [pod(2, 100, 300)]
        response = cri.ListPodSandboxResponse(items=fit(items, "pods"))
        assert response.ByteSize() < MESSAGE_LIMIT
        assert dict(response.items[3].labels) == dict(pod(2, 100, 300).labels)


def test_statistics_carry_their_containers_annotations() -> None:
    from crishim.cri.stats import _described

    item = cri.PodSandboxStats(attributes=cri.PodSandboxAttributes(id="p", annotations={"a": "x" * (300 << 10)}))
    attributes = cri.ContainerAttributes(id="c", annotations={"b": "x" * (300 << 10)})
    item.linux.containers.add(attributes=attributes)
    items = [cri.PodSandboxStats.FromString(item.SerializeToString()) for _ in range(100)]
    assert sum(i.ByteSize() for i in fit(items, "pod stats", _described)) < MESSAGE_LIMIT


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (cri.PodSandboxConfig(annotations={"k": "x" * (256 << 10)}), None),
        (cri.PodSandboxConfig(annotations={"k": "x" * MAX_ANNOTATIONS}), "the annotations have"),
        (cri.PodSandboxConfig(labels={"k": "x" * MAX_LABELS}), "the labels have"),
        (cri.ContainerConfig(args=["x" * MAX_CONFIG]), "the configuration has"),
        (cri.ContainerConfig(args=["x" * (1 << 20)]), None),
    ],
)
def test_what_is_accepted(config: cri.PodSandboxConfig | cri.ContainerConfig, problem: str | None) -> None:
    found = too_large(config)
    assert (found is None) if problem is None else (found or "").startswith(problem)


def test_an_image_name_counts_with_the_labels() -> None:
    assert too_large(cri.ContainerConfig(), cri.ImageSpec(image="x" * MAX_LABELS))
