"""Namespaces, volumes, limits and identity: what a pod's spec says, seen from inside it and from the host."""

import os
import socket
import stat
from pathlib import Path

import pytest

from crishim.linux import cgroups
from tests.kubelet.shapes import SLEEP, pod, shell
from tests.support.kubelet.node import SIGNALLED, Node, container_status, is_ready, restarts

pytestmark = pytest.mark.node


def namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def test_host_namespaces(node: Node) -> None:
    """hostNetwork, hostPID, hostIPC: the pod is in the node's namespace of that kind, and in no other of these."""
    kinds = {"net": "hostNetwork", "pid": "hostPID", "ipc": "hostIPC"}
    for kind, field in kinds.items():
        node.put(f"host-{kind}", pod(**{field: True}))
    for kind in kinds:
        node.ready(f"host-{kind}")
        pid = node.pid_of(f"host-{kind}")
        assert {k for k in kinds if namespace(pid, k) == namespace("self", k)} == {kind}


def test_shared_pid_namespace(node: Node) -> None:
    """shareProcessNamespace: each container sees the other's processes; pid 1 is the pod's init, which reaps."""
    node.run("shared", pod(shell(), shell("exec sleep 4711", "other"), shareProcessNamespace=True))
    assert "sleep 4711" in node.execute("shared", "main", "ps")
    assert namespace(node.pid_of("shared"), "pid") == namespace(node.pid_of("shared", "other"), "pid")
    assert "catatonit" in node.execute("shared", "main", "cat", "/proc/1/cmdline")


def test_user_namespace(node: Node) -> None:
    """hostUsers: false: root in the pod is a high uid on the host; volumes are mapped; a restart keeps the range."""
    main = shell(f"echo mine >/v/file; {SLEEP}", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    node.run("userns", pod(main, hostUsers=False, volumes=[{"name": "v", "emptyDir": {}}]))
    pid = node.pid_of("userns")
    assert namespace(pid, "user") != namespace("self", "user")
    inside, outside, count = Path(f"/proc/{pid}/uid_map").read_text().split()
    assert inside == "0"
    assert int(outside) >= 65536
    assert int(count) == 65536
    assert node.execute("userns", "main", "stat", "-c", "%u", "/v/file").strip() == "0"
    node.execute("userns", "main", "kill", "1")
    node.wait("userns", lambda p: restarts(p) == 1 and is_ready(p), "runs again")
    assert Path(f"/proc/{node.pid_of('userns')}/uid_map").read_text().split() == [inside, outside, count]


def test_volumes(node: Node, tmp_path: Path) -> None:
    """emptyDir on disk and in memory, hostPath as directory and file, subPath: all writable where they should be."""
    (tmp_path / "file").write_text("a file\n")
    mounts = [
        {"name": "disk", "mountPath": "/disk"},
        {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/sub", "subPath": "inner"},
        {"name": "dir", "mountPath": "/dir", "readOnly": True},
        {"name": "new", "mountPath": "/new"},
        {"name": "file", "mountPath": "/file"},
    ]
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "dir", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
        {"name": "new", "hostPath": {"path": str(tmp_path / "new"), "type": "DirectoryOrCreate"}},
        {"name": "file", "hostPath": {"path": str(tmp_path / "file"), "type": "File"}},
    ]
    script = f"echo x >/sub/y; echo z >/new/z; touch /dir/no || echo refused >/memory/dir; {SLEEP}"
    node.run("volumes", pod(shell(script, volumeMounts=mounts), volumes=volumes))
    run = node.execute
    assert run("volumes", "main", "cat", "/disk/inner/y") == "x\n"
    assert run("volumes", "main", "cat", "/memory/dir") == "refused\n"
    assert run("volumes", "main", "cat", "/file") == "a file\n"
    assert (tmp_path / "new/z").read_text() == "z\n"
    table = run("volumes", "main", "cat", "/proc/mounts")
    assert any(line.split()[1:3] == ["/memory", "tmpfs"] and "size=1024k" in line for line in table.splitlines())


def test_host_paths_of_every_kind(node: Node, tmp_path: Path) -> None:
    """Directories and files, made where asked, socket, character and block device: the very thing is in the pod."""
    (tmp_path / "Directory").mkdir()
    (tmp_path / "File").write_text("a file\n")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "Socket"))
    os.mknod(tmp_path / "CharDevice", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tmp_path / "BlockDevice", stat.S_IFBLK | 0o600, os.makedev(7, 250))
    kinds = ["Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"]
    paths = {kind.lower(): (kind, str(tmp_path / kind)) for kind in kinds}
    volumes = [{"name": n, "hostPath": {"path": path, "type": kind}} for n, (kind, path) in paths.items()]
    mounts = [{"name": n, "mountPath": f"/v/{kind}"} for n, (kind, _) in paths.items()]
    node.run("kinds", pod(shell(volumeMounts=mounts), volumes=volumes))
    server.close()
    for kind in kinds:
        seen = node.execute("kinds", "main", "stat", "-c", "%F,%i", f"/v/{kind}").strip().replace(" empty", "")
        found = os.stat(tmp_path / kind)
        assert seen == f"{_KINDS[stat.S_IFMT(found.st_mode)]},{found.st_ino}"
    assert not node.execute("kinds", "main", "cp", "/v/File", "/v/CharDevice")


_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "regular file",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character special file",
    stat.S_IFBLK: "block special file",
}


def test_requests_and_limits_reach_the_cgroup(node: Node) -> None:
    """CPU and memory of a container and of its pod, in the files of their cgroups; and the QoS class's parent."""
    resources = {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "64Mi"}}
    found = node.run("limits", pod(shell(resources=resources)))
    identity = container_status(found, "main")["containerID"].removeprefix("crishim://")
    directories = [d for d in _below(node.daemon.cgroup) if identity in d.name]
    assert directories
    assert all(f"burstable/pod{found['metadata']['uid']}" in str(d) for d in directories), directories
    read = _values(directories)
    if cgroups.version() == 1:
        assert read["cpu.shares"] == "102"
        assert (read["cpu.cfs_quota_us"], read["cpu.cfs_period_us"]) == ("20000", "100000")
        assert read["memory.limit_in_bytes"] == str(64 << 20)
        pod_values = _values([d.parent for d in directories])
        assert pod_values["memory.limit_in_bytes"] == str(64 << 20)
    else:
        assert read["cpu.max"] == "20000 100000"
        assert read["memory.max"] == str(64 << 20)
    assert container_status(found, "main")["resources"]["limits"] == {"cpu": "200m", "memory": "64Mi"}


def _below(cgroup: str) -> list[Path]:
    return [Path(d) for top in cgroups.directories(cgroup) for d, _, _ in os.walk(top)]


def _values(directories: list[Path]) -> dict[str, str]:
    """The single-line files of cgroup directories, by name."""
    found = {}
    for directory in directories:
        for path in directory.glob("*.*"):
            if path.name.startswith(("cpu.", "memory.limit", "memory.max")) and os.access(path, os.R_OK):
                found[path.name] = path.read_text().strip()
    return found


def test_security_context(node: Node) -> None:
    """Users, groups, capabilities, no_new_privs, a read-only root and seccomp: as /proc shows them."""
    context = {
        "runAsUser": 1000,
        "runAsGroup": 3000,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = pod(shell(securityContext=context), securityContext={"fsGroup": 4000, "supplementalGroups": [5000]})
    node.run("secure", spec)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{node.pid_of('secure')}/status").read_text().splitlines())
    assert status["Uid"].split()[0] == "1000"
    assert status["Gid"].split()[0] == "3000"
    assert {"4000", "5000"} <= set(status["Groups"].split())
    assert int(status["CapBnd"], 16) == 1 << 10
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert "Read-only" in node.execute("secure", "main", "sh", "-c", "touch${IFS}/x;true")
    user = container_status(node.pod("secure"), "main")["user"]["linux"]
    assert (user["uid"], user["gid"]) == (1000, 3000)


def test_names(node: Node) -> None:
    """DNS by policy and by the pod's own settings, hostAliases, the host name."""
    aliases = [{"ip": "192.0.2.1", "hostnames": ["alias.test"]}]
    config = {"nameservers": ["192.0.2.53"], "searches": ["own.test"], "options": [{"name": "ndots", "value": "3"}]}
    node.run("names", pod(hostAliases=aliases, dnsPolicy="None", dnsConfig=config, hostname="me"))
    hosts = node.execute("names", "main", "cat", "/etc/hosts")
    assert "192.0.2.1\talias.test" in hosts
    assert node.execute("names", "main", "hostname").strip() == "me"
    resolv = node.execute("names", "main", "cat", "/etc/resolv.conf").split("\n")
    assert {"search own.test", "nameserver 192.0.2.53", "options ndots:3"} == set(filter(None, resolv))
    specs = {
        "default": (pod(dnsPolicy="Default"), "10.230.0.2"),
        "cluster": (pod(dnsPolicy="ClusterFirst"), "10.96.0.10"),
        "cluster-host": (pod(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True), "10.96.0.10"),
        "host": (pod(dnsPolicy="ClusterFirst", hostNetwork=True), "10.230.0.2"),
    }
    for name, (spec, _) in specs.items():
        node.put(f"names-{name}", spec)
    for name, (_, server) in specs.items():
        node.ready(f"names-{name}")
        text = node.execute(f"names-{name}", "main", "cat", "/etc/resolv.conf")
        assert [line for line in text.splitlines() if line.startswith("nameserver")] == [f"nameserver {server}"]


def test_sysctls(node: Node) -> None:
    """Sysctls of the pod's own namespaces are set in it."""
    wanted = [{"name": "net.core.somaxconn", "value": "777"}, {"name": "kernel.msgmax", "value": "8193"}]
    node.run("sysctls", pod(securityContext={"sysctls": wanted}))
    assert node.execute("sysctls", "main", "cat", "/proc/sys/net/core/somaxconn").strip() == "777"
    assert node.execute("sysctls", "main", "cat", "/proc/sys/kernel/msgmax").strip() == "8193"


def test_an_image_as_a_volume(node: Node) -> None:
    """An image volume shows the image's files, read-only, a directory of it with subPath."""
    mounts = [{"name": "i", "mountPath": "/image"}, {"name": "i", "mountPath": "/etc2", "subPath": "etc"}]
    volumes = [{"name": "i", "image": {"reference": SIGNALLED, "pullPolicy": "Never"}}]
    script = f"touch /image/no 2>/refused; {SLEEP}"
    node.run("image-volume", pod(shell(script, volumeMounts=mounts), volumes=volumes))
    assert "busybox" in node.execute("image-volume", "main", "ls", "/image/bin").split()
    assert "root:" in node.execute("image-volume", "main", "cat", "/etc2/passwd")
    assert "Read-only" in node.execute("image-volume", "main", "cat", "/refused")
