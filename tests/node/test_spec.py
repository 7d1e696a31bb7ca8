"""Specs made by crishim/spec, run by the real runtimes and looked at from inside."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri
from crishim.spec import process
from crishim.spec.build import build
from tests.node.spec_lab import Lab, lines, secured, wait_for
from tests.node.spec_lab import lab as lab

pytestmark = pytest.mark.node
DEFAULT_CAPS = "00000000a80425fb"  # the 14 of bundles/base.json


def test_a_plain_container(lab: Lab) -> None:
    """No security context: root with the default capabilities, pid 1, unconfined by seccomp, fenced."""
    out = lab.run("echo pid: $$; grep -E 'Cap|Seccomp:|NoNew' /proc/self/status; head -c1 /proc/kcore; cat /proc/keys")
    facts = lines(out)
    assert facts["pid"] == "1"
    assert facts["CapBnd"] == facts["CapEff"] == facts["CapPrm"] == DEFAULT_CAPS
    assert facts["CapInh"] == facts["CapAmb"] == "0000000000000000"
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("0", "0")


def test_user_and_groups(lab: Lab) -> None:
    """uid, gid and groups as reported; Strict leaves the image's memberships out."""
    config = secured(run_as_user=cri.Int64Value(value=1000), supplemental_groups=[1234])
    inputs = lab.inputs(config)
    inputs.config.command[:] = ["x"]
    reported = build(inputs).user
    facts = lines(lab.run("id -u; id -g; grep Groups /proc/self/status", config))
    assert set(map(int, facts["Groups"].split())) == set(reported.groups) == {1000, 1234, 50000}
    config.linux.security_context.supplemental_groups_policy = cri.Strict
    assert lab.run("id -u; id -g; id -G", config) == "1000\n1000\n1000 1234\n"


def test_user_by_name_and_run_as_group(lab: Lab) -> None:
    """A name from the image's passwd, with another primary group."""
    config = secured(run_as_username="alice", run_as_group=cri.Int64Value(value=7))
    assert lab.run("id -u; id -g", config) == "1000\n7\n"


def test_capabilities(lab: Lab) -> None:
    """drop ALL leaves none; an ambient capability survives the change to a user that is not root."""
    config = secured()
    config.linux.security_context.capabilities.drop_capabilities.append("ALL")
    facts = lines(lab.run("grep Cap /proc/self/status", config))
    assert {facts[n] for n in ("CapBnd", "CapEff", "CapPrm")} == {"0" * 16}
    config = secured(run_as_user=cri.Int64Value(value=1000))
    config.linux.security_context.capabilities.add_ambient_capabilities.append("NET_ADMIN")
    facts = lines(lab.run("grep Cap /proc/self/status", config))
    assert facts["CapAmb"] == facts["CapEff"] == "0000000000001000"


def test_privileged(lab: Lab) -> None:
    """Every capability the daemon holds, the host's devices, /sys writable, no seccomp whatever is asked for."""
    config = secured(privileged=True, seccomp=cri.SecurityProfile())
    facts = lines(
        lab.run("grep -E 'CapEff|Seccomp:' /proc/self/status; echo sys: $(grep ' /sys ' /proc/mounts)", config)
    )
    own = lines(Path("/proc/self/status").read_text())
    assert facts["CapEff"] == own["CapPrm"]
    assert facts["Seccomp"] == "0"
    assert " rw," in facts["sys"]
    host_nodes = [p for p in Path("/dev").iterdir() if p.is_char_device() and p.name not in ("console", "tty")]
    inside = set(lab.run("ls /dev", config).split())
    assert {p.name for p in host_nodes} <= inside


def test_seccomp_runtime_default(lab: Lab) -> None:
    """A filter is there: namespaces cannot be made; with SYS_ADMIN in the bounding set they can."""
    config = secured(seccomp=cri.SecurityProfile())
    script = "grep Seccomp: /proc/self/status; unshare -U echo made || echo denied"
    assert lab.run(script, config) == "Seccomp:\t2\ndenied\n"
    config.linux.security_context.capabilities.add_capabilities.append("SYS_ADMIN")
    assert lab.run(script, config) == "Seccomp:\t2\nmade\n"


def test_seccomp_localhost(lab: Lab) -> None:
    """The rules of a file of the node hold."""
    profile = lab.directory / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
        '[{"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    config = secured(seccomp={"profile_type": cri.SecurityProfile.Localhost, "localhost_ref": str(profile)})
    assert lab.run("touch /tmp/f; chmod 400 /tmp/f 2>/dev/null || echo denied", config) == "denied\n"


def test_no_new_privs(lab: Lab) -> None:
    """The flag is set on the process."""
    assert lab.run("grep NoNewPrivs /proc/self/status", secured(no_new_privs=True)) == "NoNewPrivs:\t1\n"


def test_masked_and_readonly_paths(lab: Lab) -> None:
    """The request's lists: a masked file is empty, a read-only path cannot be written, others can (procMount)."""
    (lab.rootfs / "etc/secret").write_text("x")
    config = secured(masked_paths=["/etc/secret"], readonly_paths=["/tmp"])
    unmasked = '[ -n "$(head -n1 /proc/interrupts)" ] && echo unmasked'
    script = f"cat /etc/secret; touch /tmp/x 2>/dev/null || echo read-only; {unmasked}"
    assert lab.run(script, config) == "read-only\nunmasked\n"
    assert lab.run(f"{unmasked}; (echo > /proc/sys/kernel/domainname) 2>/dev/null || echo no") == "no\n"


def test_read_only_root(lab: Lab) -> None:
    """readonly_rootfs; /dev/shm stays writable."""
    script = "touch /x 2>/dev/null || echo read-only; test -w /dev/shm && echo shm"
    assert lab.run(script, secured(readonly_rootfs=True)) == "read-only\nshm\n"


@pytest.mark.fact("env values are bytes")
def test_environment_bytes_survive(lab: Lab) -> None:
    """Every byte but NUL reaches the process, among ordinary variables, and in an exec too."""
    value = bytes(range(1, 256)) + b"\n\n"
    config = cri.ContainerConfig(
        envs=[cri.KeyValue(key="RAW", value=value), cri.KeyValue(key="dotted.name", value="\u00e4".encode())]
    )
    config.working_dir = "/tmp"
    running = lab.start("cat /proc/$$/environ; cat /proc/$$/cmdline > /dev/null; pwd", config)
    out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    entries = out.split(b"\0")
    assert b"RAW=" + value in entries
    assert "dotted.name=\u00e4".encode() in entries
    assert entries[-1] == b"/tmp\n"
    assert not any(e.startswith((b"SHLVL=", b"OLDPWD=")) for e in entries)


def test_devices(lab: Lab) -> None:
    """A device under another name with just the rights asked for; one that was not asked for cannot be opened."""
    node = lab.directory / "kmsg"
    os.mknod(node, stat.S_IFCHR | 0o600, os.makedev(1, 11))
    config = secured()
    config.devices.add(host_path=str(node), container_path="/dev/mine", permissions="r")
    config.linux.security_context.capabilities.add_capabilities.append("SYSLOG")
    script = (
        "(: < /dev/mine) && echo readable; (: > /dev/mine) 2>/dev/null || echo not writable;"
        "mknod /tmp/mem c 1 1; (: < /tmp/mem) 2>/dev/null || echo denied"
    )
    assert lab.run(script, config) == "readable\nnot writable\ndenied\n"


def test_resources(lab: Lab) -> None:
    """Memory, CPU shares and oom score arrive in the cgroup and the process."""
    config = cri.ContainerConfig()
    config.linux.resources.CopyFrom(
        cri.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_shares=512, oom_score_adj=300)
    )
    v1 = lab.host.cgroup_version == 1
    memory = "/sys/fs/cgroup/memory/memory.limit_in_bytes" if v1 else "/sys/fs/cgroup/memory.max"
    group = "p=$(grep :memory: /proc/self/cgroup | head -n1); p=${p##*:};" if v1 else "p=;"
    file = "/sys/fs/cgroup/memory$p/memory.limit_in_bytes" if v1 else memory
    out = lab.run(f"{group} cat {file} 2>/dev/null || cat {memory}; cat /proc/self/oom_score_adj", config)
    assert out == f"{64 << 20}\n300\n"


def test_oom_score_is_clamped(lab: Lab) -> None:
    """A score the daemon may not give does not fail the container."""
    config = cri.ContainerConfig()
    config.linux.resources.oom_score_adj = -900
    given = int(lab.run("cat /proc/self/oom_score_adj", config))
    assert given == max(-900, lab.host.oom_floor)


def test_rlimits(lab: Lab) -> None:
    """The daemon's, not what the runtime raised its own to."""
    soft = lab.host.rlimits["RLIMIT_NOFILE"][0]
    assert lab.run("ulimit -n") == f"{soft}\n"


def test_pod_namespaces_are_joined(lab: Lab) -> None:
    """Network, IPC and UTS are the pod's, the rest is the container's own or the node's."""
    lab.make_pod()
    out = lab.run("for k in net ipc uts pid; do readlink /proc/self/ns/$k; done").split()
    for kind, seen in zip(("net", "ipc", "uts"), out[:3], strict=True):
        assert seen == f"{kind}:[{os.stat(getattr(lab.pins, kind)).st_ino}]"
    assert out[3] != os.readlink("/proc/self/ns/pid")


def test_target_pid_namespace(lab: Lab) -> None:
    """TARGET: the container sees, and is seen in, the PID namespace of the process it names."""
    config = secured()
    config.linux.security_context.namespace_options.pid = cri.TARGET
    config.linux.security_context.namespace_options.target_id = "other"
    target = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "60"])
    try:
        children = Path(f"/proc/{target.pid}/task/{target.pid}/children")
        wait_for(lambda: children.read_text().strip() != "")
        pid = int(children.read_text())
        wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        expected = os.readlink(f"/proc/{pid}/ns/pid")
        assert (
            lab.run("readlink /proc/self/ns/pid; cat /proc/1/comm", config, target=f"/proc/{pid}/ns/pid")
            == f"{expected}\nsleep\n"
        )
    finally:
        target.kill()
        target.wait()


def test_sysctls_of_an_ipc_namespace_of_its_own(lab: Lab) -> None:
    """The pod's IPC settings are made in it."""
    own = secured()
    own.linux.security_context.namespace_options.ipc = cri.CONTAINER
    pod = cri.PodSandboxConfig()
    pod.linux.sysctls["kernel.msgmax"] = "12345"
    assert lab.run("cat /proc/sys/kernel/msgmax", own, pod=pod) == "12345\n"
    assert Path("/proc/sys/kernel/msgmax").read_text() != "12345\n"


def test_exec_is_like_the_container(lab: Lab) -> None:
    """An exec has the container's user, groups, environment, directory, capabilities, seccomp and no_new_privs."""
    config = secured(
        run_as_user=cri.Int64Value(value=1000),
        supplemental_groups=[1234],
        no_new_privs=True,
        seccomp=cri.SecurityProfile(),
    )
    config.linux.security_context.capabilities.drop_capabilities.append("KILL")
    config.envs.add(key="RAW", value=b"\xff")
    config.working_dir = "/tmp"
    look = "grep -E 'Uid|Gid|Groups|Cap|NoNew|Seccomp:' /proc/self/status; env | grep RAW | od -c | head -n1; pwd"
    running = lab.start(f"({look}) > /tmp/seen; touch /tmp/up; while ! [ -e /tmp/stop ]; do sleep 0.05; done", config)
    wait_for((lab.rootfs / "tmp/up").exists)
    spec = build(lab.inputs(config)).spec
    seen = lab.exec(process.encode(process.exec_process(spec, ["/bin/sh", "-c", look], tty=False)))
    (lab.rootfs / "tmp/stop").touch()
    running.communicate(timeout=20)
    assert running.returncode == 0
    assert seen == (lab.rootfs / "tmp/seen").read_text()
    assert "377" in seen
