from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import mount_rules

RRO = {"mountOptions": ["rro"]}
IDMAP = {"linux": {"mountExtensions": {"idmap": {"enabled": True}}}}
ONE = [cri.IDMapping(host_id=1000, container_id=0, length=10)]
IMAGE = cri.ImageSpec(image="i")


def mount(**fields: Any) -> cri.Mount:
    return cri.Mount(**({"container_path": "/c", "host_path": "/h"} | fields))


def image(**fields: Any) -> cri.Mount:
    return mount(**({"host_path": "", "image": IMAGE, "readonly": True} | fields))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (mount(container_path="relative"), "must be absolute"),
        (mount(container_path=""), "must be absolute"),
        (mount(container_path="/"), "over /"),
        (mount(container_path="/a/.."), "over /"),
        (mount(container_path="/a\0"), "NUL"),
        (mount(host_path=""), "neither a host path nor an image"),
        (mount(host_path="relative"), "host path must be absolute"),
        (image(host_path="/h"), "no host path"),
        (image(readonly=False), "readonly=false"),
        (mount(image_sub_path="x"), "for image volumes"),
        (image(image_sub_path="../x"), "'..'"),
        (image(image_sub_path="a/../../x"), "'..'"),
        (image(image_sub_path="/x"), "relative"),
        (mount(propagation=7), "unknown propagation"),
        (mount(recursive_read_only=True), "needs readonly"),
        (mount(recursive_read_only=True, readonly=True, propagation=1), "PRIVATE"),
        (mount(recursive_read_only=True, readonly=True, propagation=2), "PRIVATE"),
        (mount(mount_options=["noexec", "suid"]), "'suid'"),
        (mount(mount_options=["ro"]), "'ro'"),
        (mount(uidMappings=ONE), "belong together"),
        (mount(gidMappings=ONE), "belong together"),
    ],
)
def test_what_is_rejected(request_: cri.Mount, words: str) -> None:
    """recursive_read_only, image volumes, mount_options, paths: each rule says what it wants and names the mount."""
    with pytest.raises(CrishimError) as caught:
        mount_rules.check([request_], RRO | IDMAP)
    assert caught.value.kind is Kind.INVALID
    assert words in caught.value.message


@pytest.mark.parametrize(
    "request_",
    [
        mount(),
        mount(recursive_read_only=True, readonly=True),
        mount(mount_options=["noexec", "nodev", "nosuid"]),
        mount(uidMappings=ONE, gidMappings=ONE),
        image(),
        image(image_sub_path="a/b..c"),
        mount(propagation=1, readonly=True),
        mount(propagation=2),
    ],
)
def test_what_is_accepted(request_: cri.Mount) -> None:
    """Sound requests, by a runtime that can do all."""
    mount_rules.check([request_], RRO | IDMAP)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (mount(recursive_read_only=True, readonly=True), "recursive read-only"),
        (mount(uidMappings=ONE, gidMappings=ONE), "idmapped"),
    ],
)
@pytest.mark.parametrize("features", [None, {}, {"mountOptions": ["ro"], "linux": {"mountExtensions": {}}}])
def test_what_the_runtime_cannot_do_is_refused(
    request_: cri.Mount, words: str, features: dict[str, Any] | None
) -> None:
    """An old runtime would ignore these silently."""
    with pytest.raises(CrishimError, match=words) as caught:
        mount_rules.check([request_], features)
    assert caught.value.kind is Kind.PRECONDITION


def test_two_mounts_on_one_path() -> None:
    """Also if they are spelled differently."""
    with pytest.raises(CrishimError, match="two mounts have the container path /c"):
        mount_rules.check([mount(), mount(container_path="/x/../c/")], None)
