"""Names of cgroups as systemd nests them."""

import pytest

from crishim.operations.launch import _expand_slice


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.slice", "/a.slice"),
        ("/a-b.slice", "/a.slice/a-b.slice"),
        ("/a.slice/a-b.slice", "/a.slice/a-b.slice"),  # as a kubelet says it
        ("kubepods-burstable-podx_y.slice", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx_y.slice"),
    ],
)
def test_slices(name: str, path: str) -> None:
    """systemd.slice(5)."""
    assert _expand_slice(name) == path
