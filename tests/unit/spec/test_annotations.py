import pytest

from crishim.pb import cri_pb2 as cri
from crishim.spec import annotations

from .conftest import Apply, Make


def test_annotations_say_where_a_container_belongs(make: Make, apply: Apply) -> None:
    """The keys tools know from containerd, beside the container's own."""
    pod = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name="p", namespace="n", uid="u"))
    config = cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name="c"),
        image=cri.ImageSpec(image="sha256:1", user_specified_image="busybox:1"),
        annotations={"mine": "1"},
    )
    assert apply(annotations.annotations, make(config=config, pod=pod)).spec["annotations"] == {
        "mine": "1",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.container-name": "c",
        "io.kubernetes.cri.sandbox-id": "pod1",
        "io.kubernetes.cri.sandbox-name": "p",
        "io.kubernetes.cri.sandbox-namespace": "n",
        "io.kubernetes.cri.sandbox-uid": "u",
        "io.kubernetes.cri.image-name": "busybox:1",
    }


def test_annotations_cannot_steer_the_runtime(make: Make, apply: Apply) -> None:
    """What crun and runc act upon is dropped, known to us or named by `features`; ours cannot be overwritten."""
    config = cri.ContainerConfig(
        annotations={
            "run.oci.handler": "krun",
            "org.systemd.property.ExecStart": "x",
            "org.criu.config": "/x",
            "bundle": "/x",
            "new.prefix.y": "1",
            "whole.key": "1",
            "whole.key.not": "1",
            "io.kubernetes.cri.container-type": "sandbox",
        }
    )
    features = {"potentiallyUnsafeConfigAnnotations": ["new.prefix.", "whole.key"]}
    result = apply(annotations.annotations, make(config=config, features=features)).spec["annotations"]
    assert result == {
        "whole.key.not": "1",
        "io.kubernetes.cri.container-type": "container",
        "io.kubernetes.cri.sandbox-id": "pod1",
    }


@pytest.mark.parametrize(("path", "told"), [("/kubepods/x/c", False), ("a.slice:crishim:c", True)])
def test_crun_makes_no_group_in_a_scope(make: Make, apply: Apply, path: str, told: bool) -> None:
    """With systemd alone, and whatever the pod says."""
    config = cri.ContainerConfig(annotations={"run.oci.systemd.subgroup": "x"})
    result = apply(annotations.annotations, make(config=config, cgroups_path=path)).spec["annotations"]
    assert result.get("run.oci.systemd.subgroup") == ("" if told else None)


def test_root_is_read_only_if_asked_for(make: Make, apply: Apply) -> None:
    """readonly_rootfs."""
    config = cri.ContainerConfig()
    config.linux.security_context.readonly_rootfs = True
    inputs = make(config=config)
    assert apply(annotations.root, inputs).spec["root"] == {"path": inputs.rootfs, "readonly": True}


def test_version_is_the_newest_the_runtime_knows(make: Make, apply: Apply) -> None:
    """An old runtime, which does not say, gets the base's."""
    assert apply(annotations.oci_version, make(features={"ociVersionMax": "1.3.0"})).spec["ociVersion"] == "1.3.0"
    assert apply(annotations.oci_version, make()).spec["ociVersion"] == "1.0.2"
