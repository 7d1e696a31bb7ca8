from pathlib import Path

import pytest

from crishim.errors import CrishimError, Kind
from crishim.linux.apparmor import parse_profiles
from crishim.pb import cri_pb2 as cri
from crishim.spec import apparmor
from crishim.spec.inputs import Host

from .conftest import Apply, Make

RUNTIME_DEFAULT = cri.SecurityProfile.RuntimeDefault
UNCONFINED = cri.SecurityProfile.Unconfined
LOCALHOST = cri.SecurityProfile.Localhost


def config(
    field: "cri.SecurityProfile.ProfileType.ValueType | None" = None,
    ref: str = "",
    old: str = "",
    privileged: bool = False,
) -> cri.ContainerConfig:
    result = cri.ContainerConfig()
    context = result.linux.security_context
    context.apparmor_profile, context.privileged = old, privileged
    if field is not None:
        context.apparmor.SetInParent()
        context.apparmor.profile_type, context.apparmor.localhost_ref = field, ref
    return result


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host with AppArmor, a default and one more profile loaded."""
    profiles = tmp_path / "profiles"
    profiles.write_text("crishim-default (enforce)\nmy profile (complain)\n")
    return Host(apparmor=True, apparmor_profiles=str(profiles), apparmor_default="crishim-default")


@pytest.mark.fact("seccomp, AppArmor, SELinux")
@pytest.mark.parametrize(
    ("request_", "profile"),
    [
        (config(), "crishim-default"),
        (config(RUNTIME_DEFAULT), "crishim-default"),
        (config(old="runtime/default"), "crishim-default"),
        (config(UNCONFINED), "unconfined"),
        (config(old="unconfined"), "unconfined"),
        (config(LOCALHOST, "my profile"), "my profile"),
        (config(LOCALHOST, "localhost/my profile"), "my profile"),
        (config(old="localhost/my profile"), "my profile"),
        (config(LOCALHOST, "my profile", old="unconfined"), "my profile"),
        (config(UNCONFINED, old="localhost/my profile"), "unconfined"),
        (config(privileged=True), None),
        (config(LOCALHOST, "my profile", privileged=True), "my profile"),
    ],
)
def test_profile(make: Make, apply: Apply, host: Host, request_: cri.ContainerConfig, profile: str | None) -> None:
    """The field wins over the old string; nil with an empty old field and an empty struct are the runtime default."""
    process = apply(apparmor.apparmor, make(config=request_, host=host)).spec["process"]
    assert process.get("apparmorProfile") == profile


@pytest.mark.fact("seccomp, AppArmor, SELinux")
@pytest.mark.parametrize("request_", [config(LOCALHOST, "other"), config(old="localhost/other")])
def test_an_unloaded_profile_fails(make: Make, apply: Apply, host: Host, request_: cri.ContainerConfig) -> None:
    """An AppArmor profile that is not loaded fails at CreateContainer, and is named."""
    with pytest.raises(CrishimError, match="'other' is not loaded") as caught:
        apply(apparmor.apparmor, make(config=request_, host=host))
    assert caught.value.kind is Kind.PRECONDITION


def test_a_host_without_apparmor(make: Make, apply: Apply) -> None:
    """Default and unconfined need none; a profile by name does, and the error says what is missing."""
    for request_ in (config(), config(RUNTIME_DEFAULT), config(UNCONFINED)):
        assert "apparmorProfile" not in apply(apparmor.apparmor, make(config=request_)).spec["process"]
    with pytest.raises(CrishimError, match="this node has no AppArmor"):
        apply(apparmor.apparmor, make(config=config(LOCALHOST, "x")))


def test_without_a_default_profile_it_is_noted(make: Make, apply: Apply) -> None:
    """A host with AppArmor on which nobody loaded a default runs unconfined, and the log says so."""
    draft = apply(apparmor.apparmor, make(host=Host(apparmor=True)))
    assert "apparmorProfile" not in draft.spec["process"]
    assert "AppArmor" in draft.notes[0]


def test_profile_names_may_hold_spaces_and_parentheses() -> None:
    """One a line, the mode in the last parentheses."""
    text = "a (enforce)\n/usr/bin/x (deleted) (complain)\nrubbish\n"
    assert parse_profiles(text) == {"a", "/usr/bin/x (deleted)"}


def test_malformed_old_string(make: Make, apply: Apply) -> None:
    """Neither a keyword nor localhost/NAME: INVALID."""
    with pytest.raises(CrishimError) as caught:
        apply(apparmor.apparmor, make(config=config(old="docker-default")))
    assert caught.value.kind is Kind.INVALID
