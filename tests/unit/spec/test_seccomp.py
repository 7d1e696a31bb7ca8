import json
from pathlib import Path
from typing import Any

import pytest

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri
from crishim.spec import bundle, seccomp
from crishim.spec.inputs import Host

from .conftest import Apply, Make

RUNTIME_DEFAULT = cri.SecurityProfile.RuntimeDefault
UNCONFINED = cri.SecurityProfile.Unconfined
LOCALHOST = cri.SecurityProfile.Localhost


def config(
    field: "cri.SecurityProfile.ProfileType.ValueType | None" = None,
    ref: str = "",
    path: str = "",
    privileged: bool = False,
) -> cri.ContainerConfig:
    result = cri.ContainerConfig()
    context = result.linux.security_context
    context.seccomp_profile_path, context.privileged = path, privileged
    if field is not None:
        context.seccomp.SetInParent()
        context.seccomp.profile_type, context.seccomp.localhost_ref = field, ref
    return result


def applied(make: Make, apply: Apply, request: cri.ContainerConfig, **more: Any) -> Any:
    return apply(seccomp.seccomp, make(config=request, **more)).spec["linux"].get("seccomp")


def names(filter_: dict[str, Any], action: str = "SCMP_ACT_ALLOW", with_args: bool = True) -> set[str]:
    rules = [r for r in filter_["syscalls"] if r["action"] == action and (with_args or "args" not in r)]
    return {name for rule in rules for name in rule["names"]}


@pytest.mark.parametrize(
    "request_",
    [config(), config(UNCONFINED), config(path="unconfined"), config(UNCONFINED, path="runtime/default")],
    ids=["nil is unconfined", "field", "path", "field wins over path"],
)
def test_unconfined(make: Make, apply: Apply, request_: cri.ContainerConfig) -> None:
    """No profile: asked for, or nothing asked for (seccomp nil = unconfined)."""
    assert applied(make, apply, request_) is None


@pytest.mark.parametrize(
    "request_",
    [
        config(RUNTIME_DEFAULT),
        config(path="runtime/default"),
        config(path="docker/default"),
        config(RUNTIME_DEFAULT, path="unconfined"),
    ],
    ids=["empty struct", "path", "old path", "field wins over path"],
)
def test_runtime_default(make: Make, apply: Apply, request_: cri.ContainerConfig) -> None:
    """The profile of bundles/, also for an empty struct."""
    filter_ = applied(make, apply, request_)
    assert filter_["defaultAction"] == "SCMP_ACT_ERRNO"
    assert filter_["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    assert {"read", "openat2", "futex_waitv"} <= names(filter_)


def test_privileged_ignores_seccomp(make: Make, apply: Apply) -> None:
    """Whatever profile is named, also one that does not exist."""
    assert applied(make, apply, config(LOCALHOST, "/nowhere.json", privileged=True)) is None


def test_localhost_file(make: Make, apply: Apply, tmp_path: Path) -> None:
    """A file of the node, through the field and through the deprecated path."""
    file = tmp_path / "p.json"
    rule = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    expected = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    assert applied(make, apply, config(LOCALHOST, str(file))) == expected
    assert applied(make, apply, config(path=f"localhost/{file}")) == expected


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, Kind.NOT_FOUND),
        ("{", Kind.INVALID),
        ("[]", Kind.INVALID),
        ("{}", Kind.INVALID),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW"}]}', Kind.INVALID),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": ["read"]}', Kind.INVALID),
        (
            '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "includes": {"minKernel": "x"}}]}',
            Kind.INVALID,
        ),
    ],
)
def test_a_bad_localhost_file_is_named(
    make: Make, apply: Apply, tmp_path: Path, content: str | None, kind: Kind
) -> None:
    """Missing, no JSON, or no profile: an error with the path, at create and not in the runtime."""
    file = tmp_path / "bad.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CrishimError, match=r"bad\.json") as caught:
        applied(make, apply, config(LOCALHOST, str(file)))
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    "request_", [config(LOCALHOST, "relative.json"), config(path="localhost/relative"), config(path="x")]
)
def test_a_profile_must_be_an_absolute_path(make: Make, apply: Apply, request_: cri.ContainerConfig) -> None:
    """The kubelet sends absolute paths; anything else is INVALID."""
    with pytest.raises(CrishimError) as caught:
        applied(make, apply, request_)
    assert caught.value.kind is Kind.INVALID


def test_a_node_without_seccomp_says_so(make: Make, apply: Apply) -> None:
    """Neither the kernel's nor the runtime's lack of seccomp is silently accepted."""
    for lacking in ({"host": Host(seccomp=False)}, {"features": {"linux": {"seccomp": {"enabled": False}}}}):
        with pytest.raises(CrishimError, match="seccomp") as caught:
            applied(make, apply, config(RUNTIME_DEFAULT), **lacking)
        assert caught.value.kind is Kind.PRECONDITION


def resolved(caps: set[str], machine: str = "x86_64", kernel: tuple[int, int] = (6, 1)) -> dict[str, Any]:
    return seccomp.resolve(bundle.seccomp_profile(), machine, caps, kernel)


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        ("CAP_SYS_ADMIN", "mount"), ("CAP_SYS_ADMIN", "unshare"), ("CAP_SYS_BOOT", "reboot"),
        ("CAP_SYS_ADMIN", "lsm_get_self_attr"), ("CAP_SYS_ADMIN", "lsm_set_self_attr"),
        ("CAP_SYS_ADMIN", "lsm_list_modules"),
        ("CAP_SYS_CHROOT", "chroot"),
        ("CAP_SYS_MODULE", "init_module"), ("CAP_SYS_TIME", "clock_settime"), ("CAP_BPF", "bpf"),
        ("CAP_SYSLOG", "syslog"), ("CAP_DAC_READ_SEARCH", "open_by_handle_at"), ("CAP_SYS_NICE", "mbind"),
        ("CAP_PERFMON", "perf_event_open"), ("CAP_SYS_PACCT", "acct"), ("CAP_SYS_RAWIO", "iopl"),
        ("CAP_SYS_TTY_CONFIG", "vhangup"), ("CAP_SYS_PTRACE", "kcmp"),
    ],
)  # fmt: skip
def test_calls_that_need_a_capability(capability: str, call: str) -> None:
    """Allowed with the capability in the bounding set, otherwise not listed."""
    assert call in names(resolved({capability}))
    assert call not in names(resolved(set()))


@pytest.mark.parametrize(
    "call",
    [
        "io_uring_setup",
        "keyctl",
        "add_key",
        "userfaultfd",
        "kexec_load",
        "swapon",
        "pivot_root",
        "file_getattr",
        "file_setattr",
    ],
)
def test_calls_no_capability_brings_back(call: str) -> None:
    """Left out of the profile whatever the container holds."""
    assert call not in names(resolved({"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_RESOURCE"}))


def test_clone_cannot_make_namespaces_without_the_capability() -> None:
    """clone is compared with the mask of all CLONE_NEW* flags; clone3, which cannot be, is ENOSYS."""
    filter_ = resolved(set())
    rules = [r for r in filter_["syscalls"] if "clone" in r["names"]]
    assert [(r["args"][0]["op"], r["args"][0]["value"]) for r in rules] == [("SCMP_CMP_MASKED_EQ", 0x7E020000)]
    (clone3,) = [r for r in filter_["syscalls"] if r["names"] == ["clone3"]]
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert "clone" in names(resolved({"CAP_SYS_ADMIN"}), with_args=False)


def test_architecture_decides_rules_and_list() -> None:
    """Other machines get their own calls and their own architectures."""
    arm = resolved(set(), "aarch64")
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "cacheflush" in names(arm)
    assert "modify_ldt" not in names(arm)
    s390 = next(r for r in resolved(set(), "s390x")["syscalls"] if r["names"] == ["clone"])
    assert s390["args"][0]["index"] == 1


def test_kernel_version_decides_ptrace() -> None:
    """ptrace was a way around the filter before Linux 4.8."""
    assert "ptrace" in names(resolved(set(), kernel=(4, 8)))
    assert "ptrace" not in names(resolved(set(), kernel=(4, 7)))


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
def test_address_families(high: int) -> None:
    """AF_ALG, AF_VSOCK and what no kernel has yet are denied, whatever is above the 32 bits that the kernel takes."""
    rules = [r["args"] for r in resolved(set())["syscalls"] if r["names"] == ["socket"]]
    assert all(len(args) == 1 and args[0]["op"] == "SCMP_CMP_MASKED_EQ" for args in rules)

    def allowed(family: int) -> bool:
        return any((family | high) & a["value"] == a["valueTwo"] for (a,) in rules)

    assert [f for f in range(256) if not allowed(f)] == [38, 40, *range(48, 256)]
    assert not allowed(0xFFFFFFFF)


def test_no_call_is_listed_twice_without_conditions() -> None:
    """The groups of the profile do not overlap: moving a name to another group moves it."""
    plain = [r for r in bundle.seccomp_profile()["syscalls"] if not set(r) & {"args", "includes", "excludes"}]
    listed = [n for r in plain for n in r["names"]]
    assert len(listed) == len(set(listed))


def test_old_format_with_one_name_a_rule() -> None:
    """`name` instead of `names`, and an own list of architectures."""
    old = {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
           "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW", "args": None}]}  # fmt: skip
    filter_ = seccomp.resolve(old, "x86_64", (), (6, 1))
    assert filter_["architectures"] == ["SCMP_ARCH_X86"]
    assert filter_["syscalls"] == [{"action": "SCMP_ACT_ALLOW", "names": ["read"]}]
