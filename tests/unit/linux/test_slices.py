"""Names of cgroups as systemd has them."""

from pathlib import Path

import pytest

from crishim.linux import environment, slices


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a.slice", "/a.slice"),
        ("/a-b.slice", "/a.slice/a-b.slice"),
        ("/a.slice/a-b.slice", "/a.slice/a-b.slice"),  # as a kubelet says it
        ("/crishim", "/crishim.slice"),  # as the settings say it by default
        ("kubepods-burstable-podx_y.slice", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podx_y.slice"),
    ],
)
def test_where_a_slice_is(name: str, path: str) -> None:
    """systemd.slice(5)."""
    assert slices.expand(name) == path


@pytest.mark.parametrize("setting", ["/crishim", "/crishim.slice"])
def test_a_pod_of_ours_is_a_slice_below_ours(setting: str) -> None:
    """The same place by its path and by its name alone, of which systemd makes the path."""
    pod = slices.of_pod(slices.parent(setting, True), "p1")
    assert pod == "/crishim.slice/crishim-p1.slice" == slices.expand(slices.name(pod))
    assert slices.oci_path(pod, "c1", True) == "crishim-p1.slice:crishim:c1"
    assert slices.of_container(pod, "c1", True) == f"{pod}/crishim-c1.scope"


def test_without_systemd_they_are_directories() -> None:
    """One below the other."""
    pod = slices.of_pod(slices.parent("/crishim", False), "p1")
    assert pod == "/crishim/p1"
    assert slices.oci_path(pod, "c1", False) == slices.of_container(pod, "c1", False) == "/crishim/p1/c1"


@pytest.mark.parametrize("there", [True, False])
async def test_a_slice_is_stopped_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """By systemctl, whatever it says; where there is none a warning is all."""
    if there:
        program = tmp_path / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit 5\n')
        program.chmod(0o755)
    monkeypatch.setattr(environment, "minimal", lambda: {"PATH": str(tmp_path)})
    await slices.stop("/crishim.slice/crishim-p1.slice")
    if there:
        assert (tmp_path / "asked").read_text() == "stop crishim-p1.slice\n"
    else:
        assert "cannot run systemctl" in caplog.text
