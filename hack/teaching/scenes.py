"""The pictures that no table has: processes, namespaces, and a device's way. Laid out by hand."""

from hack.teaching.svg import Picture


def tree(picture: Picture, x: int, y: int, rows: list[tuple[int, str, str, str]]) -> None:
    """Processes below one another: (depth, text, class, note beside it); the parent is the last row of less depth."""
    last: dict[int, int] = {}
    for number, (depth, text, kind, note) in enumerate(rows):
        left, top = x + depth * 34, y + number * 40
        if depth:
            picture.path(f"M{left - 20} {last[depth - 1] + 28} V{top + 14} H{left}")
        picture.box(left, top, 172, 28, text, kind)
        picture.words(left + 182, top + 18, note, "note")
        last[depth] = top


def processes() -> str:
    """A pod of two containers here, and under containerd."""
    picture = Picture(
        1060, 300, "Processes of a pod", "Here one conmon a container; under containerd a shim and a pause process"
    )
    picture.words(20, 28, "crishim", "title")
    tree(
        picture,
        20,
        44,
        [
            (0, "init (systemd)", "end", ""),
            (1, "crishim serve", "box", "may be killed: nothing hangs on it"),
            (1, "conmon", "box", "log, exit code, console of main"),
            (2, "main", "device", ""),
            (1, "conmon", "box", "and of side"),
            (2, "side", "device", ""),
        ],
    )
    picture.words(550, 28, "containerd", "title")
    tree(
        picture,
        550,
        44,
        [
            (0, "init (systemd)", "end", ""),
            (1, "containerd", "box", ""),
            (1, "containerd-shim-runc-v2", "box", "one a pod; Go runtime in each"),
            (2, "pause", "end", "holds the pod's ipc and uts"),
            (2, "main", "device", ""),
            (2, "side", "device", ""),
        ],
    )
    return picture.text()


def namespaces() -> str:
    """A pod of two containers: who has which namespace, and what keeps it alive."""
    picture = Picture(
        1000, 410, "Namespaces and their pins", "Bind mounts keep a pod's namespaces; containers are members by path"
    )
    picture.words(20, 28, "/run/crishim/pods/POD/ns", "title")
    picture.words(20, 46, "bind mounts (nsfs): the pins", "note")
    picture.words(350, 28, "the kernel's namespaces", "title")
    picture.words(350, 46, "alive while a pin or a process holds them", "note")
    picture.words(730, 28, "containers", "title")
    picture.words(730, 46, "config.json: linux.namespaces[].path", "note")
    picture.box(350, 64, 260, 120, "", "area")
    picture.words(362, 84, "network")
    for number, (name, kind, note) in enumerate(
        [("lo", "end", ""), ("eth0", "box", "CNI's, at runp"), ("net1", "device", "demo0, since create")]
    ):
        picture.box(362, 92 + number * 29, 56, 24, name, kind)
        picture.words(426, 108 + number * 29, note, "note")
    for number, name in enumerate(("ipc", "uts")):
        picture.box(350, 204 + number * 50, 260, 34, name, "area")
    for name, top in (("net", 108), ("ipc", 206), ("uts", 256)):
        picture.box(20, top, 150, 30, f"ns/{name}")
        picture.path(f"M170 {top + 15} H348", head=True)
        picture.words(204, top + 9, "keeps alive", "note")
    for name, top in (("main", 92), ("side", 206)):
        picture.box(730, top, 250, 92, "", "area")
        picture.box(742, top + 10, 80, 28, name, "device")
        picture.words(742, top + 58, "its own: mount, pid", "note")
        picture.words(742, top + 76, "the pod's: network, ipc, uts", "note")
        for target in (124, 221, 271):
            picture.path(f"M730 {top + 46} C680 {top + 46} 660 {target} 612 {target}", head=True)
    picture.words(
        20,
        334,
        "A container ends: its process lets go, the pins do not. Namespace, eth0, net1 stay for the next attempt.",
    )
    picture.words(
        20,
        356,
        "The pod is stopped: net1 goes home, CNI DEL takes eth0, pins are unmounted, the kernel ends the namespaces.",
    )
    picture.words(
        20,
        378,
        "No process holds a pod's namespace, so none can be killed to end it, and none is there only to hold it.",
    )
    return picture.text()


PHASES = [  # x, what happens
    (120, "runp"),
    (220, "create, start"),
    (400, "container killed"),
    (500, "next attempt"),
    (620, "daemon killed"),
    (720, "daemon again"),
    (830, "stopp"),
]


def device() -> str:
    """The way of demo0 through a container's and a daemon's restart."""
    picture = Picture(1000, 380, "A device through restarts", "demo0 moves once into the pod and once back")
    for x, text in PHASES:
        picture.path(f"M{x} 44 V330", "area")
        picture.words(x, 34, text, "middle note")
    for y, text in ((80, "host"), (130, "pod's network"), (190, "journal"), (250, "container"), (305, "daemon")):
        picture.words(16, y + 5, text)
    picture.path("M120 80 H246 L262 130 H850 L866 80 H985", "way")
    picture.words(150, 70, "demo0", "note")
    picture.words(420, 120, "net1: the same link, the same addresses", "note")
    picture.words(905, 70, "demo0", "note")
    for x, width, text in ((222, 56, "INTENT"), (282, 58, "MOVED"), (344, 484, "READY"), (832, 84, "RETURNING")):
        picture.box(x, 176, width, 28, text)
    picture.box(920, 176, 60, 28, "DONE", "end")
    picture.box(300, 236, 100, 28, "attempt 0", "device")
    picture.box(510, 236, 318, 28, "attempt 1", "device")
    picture.box(120, 291, 500, 28, "crishim serve")
    picture.box(720, 291, 265, 28, "reads the journal, looks, goes on")
    picture.words(
        16,
        358,
        "Each state is on disk before the effect that follows it: the next start knows what was under way.",
        "note",
    )
    return picture.text()
