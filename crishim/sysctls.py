"""Which sysctls a pod can have of its own: those of its network and IPC namespaces (namespaces(7))."""


def is_ipc_sysctl(name: str) -> bool:
    """Whether a sysctl belongs to the IPC namespace (ipc_namespaces(7))."""
    dotted = name.replace("/", ".")
    return dotted.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")) or dotted == "kernel.sem"


def is_net_sysctl(name: str) -> bool:
    return name.replace("/", ".").startswith("net.")


def is_path(name: str) -> bool:
    """Whether a name is valid as a path below /proc/sys."""
    return all(name.replace(".", "/").split("/")) and "\0" not in name
