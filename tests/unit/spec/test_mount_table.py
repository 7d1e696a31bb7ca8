from typing import Any

from crishim import model
from crishim.pb import cri_pb2 as cri
from crishim.spec import mount_table, namespaces
from crishim.spec.inputs import Draft, Inputs
from crishim.spec.mounts import Prepared

from .conftest import Apply, Make

EDITORS = (
    namespaces.namespaces,
    mount_table.kernel_file_systems,
    mount_table.shared_memory,
    mount_table.pod_files,
    mount_table.container_mounts,
    mount_table.mount_order,
    mount_table.rootfs_propagation,
)


def run(apply: Apply, inputs: Inputs) -> Draft:
    draft: Draft = apply(EDITORS[0], inputs)
    for editor in EDITORS[1:]:
        editor(draft, inputs)
    return draft


def table(apply: Apply, inputs: Inputs) -> dict[str, dict[str, Any]]:
    return {m["destination"]: m for m in run(apply, inputs).spec["mounts"]}


def prepared(path: str, source: str = "/src", **fields: Any) -> Prepared:
    return Prepared(request=cri.Mount(container_path=path, **fields), source=source)


def test_shm_is_the_pods(make: Make, apply: Apply) -> None:
    """/dev/shm is a bind mount of the path the pod shares."""
    mount = table(apply, make(shm_path="/run/pod/shm"))["/dev/shm"]
    assert (mount["type"], mount["source"]) == ("bind", "/run/pod/shm")
    assert {"nosuid", "noexec", "nodev"} <= set(mount["options"])


def test_shm_of_the_node_with_host_ipc(make: Make, apply: Apply) -> None:
    """Host IPC means the node's /dev/shm."""
    config = cri.ContainerConfig()
    config.linux.security_context.namespace_options.ipc = cri.NODE
    pins = model.NamespacePaths(net="/n/net", pid="/n/pid")
    assert table(apply, make(config=config, namespaces=pins))["/dev/shm"]["source"] == "/dev/shm"


def test_shm_of_its_own(make: Make, apply: Apply) -> None:
    """A container with an IPC namespace of its own shares no memory, whatever the pod has."""
    config = cri.ContainerConfig()
    config.linux.security_context.namespace_options.ipc = cri.CONTAINER
    assert table(apply, make(config=config, shm_path="/run/pod/shm"))["/dev/shm"]["type"] == "tmpfs"
    assert table(apply, make())["/dev/shm"]["type"] == "tmpfs"


def test_pod_files(make: Make, apply: Apply) -> None:
    """/etc/hostname, hosts and resolv.conf from the pod; read-only with a read-only root; none that is not given."""
    config = cri.ContainerConfig()
    mounts = table(apply, make(config=config, hostname_path="/p/hn", hosts_path="/p/h", resolv_conf_path="/p/r"))
    assert [mounts[f"/etc/{n}"]["source"] for n in ("hostname", "hosts", "resolv.conf")] == ["/p/hn", "/p/h", "/p/r"]
    assert mounts["/etc/hosts"]["options"] == ["bind", "rprivate", "rw"]
    config.linux.security_context.readonly_rootfs = True
    assert table(apply, make(config=config, hosts_path="/p/h"))["/etc/hosts"]["options"] == ["bind", "rprivate", "ro"]
    assert "/etc/hosts" not in table(apply, make())


def test_the_containers_own_mount_wins(make: Make, apply: Apply) -> None:
    """Of /etc/hosts, /dev/shm or /sys there is one, the request's."""
    inputs = make(
        hosts_path="/p/h",
        shm_path="/p/shm",
        mounts=(prepared("/etc/hosts", "/mine"), prepared("/dev/shm/", "/mine2"), prepared("/sys", "/mine3")),
    )
    spec = run(apply, inputs).spec
    sources = {m["destination"]: m["source"] for m in spec["mounts"]}
    assert (sources["/etc/hosts"], sources["/dev/shm"], sources["/sys"]) == ("/mine", "/mine2", "/mine3")
    assert len(sources) == len(spec["mounts"])


def test_outer_mounts_come_before_inner_ones(make: Make, apply: Apply) -> None:
    """Whatever the order of the request; equals keep theirs."""
    inputs = make(mounts=(prepared("/a/b/c"), prepared("/b"), prepared("/a/b"), prepared("/a")))
    order = [m["destination"] for m in run(apply, inputs).spec["mounts"]]
    assert order.index("/a") < order.index("/a/b") < order.index("/a/b/c")
    assert order.index("/dev") < order.index("/dev/pts")
    assert order.index("/sys") < order.index("/sys/fs/cgroup")
    assert order.index("/b") < order.index("/a")


def test_sys_is_writable_only_for_privileged(make: Make, apply: Apply) -> None:
    """/sys and the cgroup mount."""
    config = cri.ContainerConfig()
    mounts = table(apply, make(config=config))
    assert "ro" in mounts["/sys"]["options"]
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    config.linux.security_context.privileged = True
    mounts = table(apply, make(config=config))
    assert "ro" not in mounts["/sys"]["options"]
    assert "ro" not in mounts["/sys/fs/cgroup"]["options"]


def test_sys_in_a_user_namespace_on_the_nodes_network(make: Make, apply: Apply) -> None:
    """sysfs belongs to the owner of the network namespace: bound, where it cannot be mounted."""
    config = cri.ContainerConfig()
    config.linux.security_context.namespace_options.network = cri.NODE
    bound = table(apply, make(config=config, namespaces=model.NamespacePaths(user="/u", ipc="/i", pid="/p")))["/sys"]
    assert (bound["type"], bound["source"]) == ("bind", "/sys")
    assert {"rbind", "ro"} <= set(bound["options"])
    own = table(apply, make(namespaces=model.NamespacePaths(user="/u", net="/n", ipc="/i", pid="/p")))["/sys"]
    assert own["type"] == "sysfs"


def test_mqueue_in_a_user_namespace_with_the_nodes_ipc(make: Make, apply: Apply) -> None:
    """The same for POSIX message queues."""
    config = cri.ContainerConfig()
    config.linux.security_context.namespace_options.ipc = cri.NODE
    pins = model.NamespacePaths(user="/u", net="/n", pid="/p")
    assert table(apply, make(config=config, namespaces=pins))["/dev/mqueue"]["type"] == "bind"


def test_rootfs_propagation(make: Make, apply: Apply) -> None:
    """The root is as open as the most open mount needs it."""
    slave, shared = prepared("/s", propagation=1), prepared("/t", propagation=2)
    for mounts, expected in (((), None), ((slave,), "rslave"), ((slave, shared), "rshared")):
        assert run(apply, make(mounts=mounts)).spec["linux"].get("rootfsPropagation") == expected
