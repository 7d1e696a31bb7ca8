"""crishim/nri/validator.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.nri.validator import MAX_LISTED, REQUIRED_PLUGINS, Validator, effective_annotation, refusal
from crishim.pb import nri_pb2 as nri
from tests.unit.nri.test_adjustments import collect

Linux = nri.LinuxContainerAdjustment
Profile = nri.SecurityProfile
SECCOMP = nri.ContainerAdjustment(linux=Linux(seccomp_policy=nri.LinuxSeccomp(default_action="SCMP_ACT_ALLOW")))
ADJUSTMENTS = {
    "reject_oci_hook_adjustment": nri.ContainerAdjustment(hooks=nri.Hooks(prestart=[nri.Hook(path="/x")])),
    "reject_namespace_adjustment": nri.ContainerAdjustment(
        linux=Linux(namespaces=[nri.LinuxNamespace(type="-network")])
    ),
    "reject_sysctl_adjustment": nri.ContainerAdjustment(linux=Linux(sysctl={"net.x": "1"})),
    "reject_unconfined_seccomp_adjustment": SECCOMP,
}
SENTENCES = {
    "reject_oci_hook_adjustment": '"00-plugin" added OCI hooks',
    "reject_namespace_adjustment": '"00-plugin" changed the network namespace',
    "reject_sysctl_adjustment": '"00-plugin" changed the sysctl net.x',
    "reject_unconfined_seccomp_adjustment": '"00-plugin" replaced an unconfined seccomp policy',
}


def request(
    adjustment: nri.ContainerAdjustment, *, annotations: dict[str, str] | None = None, profile: int | None = None
) -> nri.ValidateContainerAdjustmentRequest:
    made = collect(adjustment)
    asked = nri.ValidateContainerAdjustmentRequest(
        pod=nri.PodSandbox(annotations=annotations or {}),
        container=nri.Container(id="c", name="app"),
        adjust=made.merged,
        plugins=[nri.PluginInstance(name="logger", index="10")],
    )
    asked.owners.owners["c"].CopyFrom(made.owners.message())
    if profile is not None:
        asked.container.linux.seccomp_profile.profile_type = profile  # type: ignore[assignment]
    return asked


@pytest.mark.parametrize("setting", ADJUSTMENTS)
def test_each_setting_refuses_its_adjustment_alone(setting: str) -> None:
    """Switched off, or by another setting, it passes."""
    settings = Validator(enable=True)._replace(**{setting: True})  # type: ignore[arg-type]
    for name, adjustment in ADJUSTMENTS.items():
        assert refusal(settings, request(adjustment)) == (SENTENCES[name] if name == setting else "")
        assert refusal(settings._replace(enable=False), request(adjustment)) == ""


@pytest.mark.parametrize(
    ("profile", "setting"),
    [
        (Profile.RUNTIME_DEFAULT, "reject_runtime_default_seccomp_adjustment"),
        (Profile.LOCALHOST, "reject_custom_seccomp_adjustment"),
        (Profile.UNCONFINED, "reject_unconfined_seccomp_adjustment"),
    ],
)
def test_seccomp_goes_by_what_the_container_had(profile: int, setting: str) -> None:
    every = Validator(
        enable=True,
        reject_runtime_default_seccomp_adjustment=True,
        reject_custom_seccomp_adjustment=True,
        reject_unconfined_seccomp_adjustment=True,
    )
    assert refusal(every, request(SECCOMP, profile=profile))
    assert refusal(every._replace(**{setting: False}), request(SECCOMP, profile=profile)) == ""  # type: ignore[arg-type]


def test_required_plugins_must_be_there() -> None:
    nothing = nri.ContainerAdjustment()
    settings = Validator(enable=True, required_plugins=("logger", "dra.net"))
    assert refusal(settings, request(nothing)) == "required NRI plugin dra.net not there"
    assert refusal(settings._replace(required_plugins=("logger",)), request(nothing)) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[logger]", ""),
        ("- logger\n- other", "required NRI plugin other not there"),
        ('["a", "b"]', "required NRI plugins a, b not there"),
        ("", ""),
        ("logger", f"annotation {REQUIRED_PLUGINS} is no list of names"),
        ("[1]", f"annotation {REQUIRED_PLUGINS} is no list of names"),
        ("[" * 5000, f"annotation {REQUIRED_PLUGINS} is no list of names"),
        ("[" + "a," * MAX_LISTED + "]", f"annotation {REQUIRED_PLUGINS} is no list of names"),
        ("!!python/object:os.system []", f"annotation {REQUIRED_PLUGINS} is no list of names"),
    ],
)
def test_a_pod_may_require_plugins(value: str, expected: str) -> None:
    asked = request(nri.ContainerAdjustment(), annotations={REQUIRED_PLUGINS: value})
    assert refusal(Validator(enable=True), asked) == expected


@given(st.text(max_size=30))
def test_any_annotation_is_a_list_or_a_refusal(value: str) -> None:
    asked = request(nri.ContainerAdjustment(), annotations={REQUIRED_PLUGINS: value})
    assert isinstance(refusal(Validator(enable=True), asked), str)


def test_a_pod_may_do_without() -> None:
    settings = Validator(enable=True, required_plugins=("x",), tolerate_missing_plugins_annotation="ok.io")
    for value, expected in (("true", ""), ("0", "x not there"), ("yes", "neither true nor false")):
        found = refusal(settings, request(nri.ContainerAdjustment(), annotations={"ok.io/pod": value}))
        assert found.endswith(expected)
        assert bool(found) == bool(expected)


def test_the_narrowest_annotation_counts() -> None:
    pod = nri.PodSandbox(annotations={"k": "1", "k/pod": "2", "k/container.app": "3"})
    assert [effective_annotation(pod, "k", name) for name in ("app", "other")] == ["3", "2"]
    assert effective_annotation(nri.PodSandbox(annotations={"k": "1"}), "k", "app") == "1"
    assert effective_annotation(pod, "x", "app") is None
