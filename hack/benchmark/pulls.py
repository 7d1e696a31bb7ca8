"""hack/bench pulls: images from a registry on loopback, beside containerd, in turns.

An image that is there and has not changed, 9 MB in one layer, 500 MB in one layer (gzip, and the same with zstd), and
ten layers of small files. The files are this machine's, from SOURCES. Each pull but the unchanged one goes into a store
without the image. Nothing here is a test.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crishim.pb import cri_pb2 as cri
from hack.benchmark.calls import milliseconds
from hack.benchmark.contestants import CONTAINERD, CRUN, Contestant, containerd, crishim, running
from hack.benchmark.ground import ROOT, as_installed, load, machine, residue
from hack.benchmark.report import put, ratios, spread
from tests.support.isolation import isolate
from tests.support.oci_layout import tar_files
from tests.support.registry import Registry, serve

SOURCES = ("/usr/bin", "/usr/lib", "/usr/share")
MARKS = "<!-- hack/bench pulls writes from here -->", "<!-- hack/bench pulls writes to here -->"
MB = 1_000_000
SMALL, LAYERS, EACH = 16_000, 10, 10_000  # bytes of a small file at most; layers, and files in each
ONE, ZSTD, TEN = "500 MB, one layer", "the same with zstd", f"{LAYERS} layers, {LAYERS * EACH} small files"
UNCHANGED, LITTLE = "there and unchanged", "9 MB, one layer"
NAMES = {UNCHANGED: "little", LITTLE: "little", ONE: "one", ZSTD: "zstd", TEN: "ten"}


def files(most: int) -> Iterator[bytes]:
    """The content of this machine's regular files of at most so many bytes, in the order of their names."""
    for source in SOURCES:
        for directory, below, names in os.walk(source):
            below.sort()
            for name in sorted(names):
                path = Path(directory, name)
                if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= most:
                    yield path.read_bytes()


def layer(size: int) -> bytes:
    """A layer of so many bytes, as good as."""
    taken, held = dict[str, bytes | None](), 0
    for number, content in enumerate(files(size)):
        if held + len(content) > size:
            continue
        taken[f"f{number}"], held = content, held + len(content)
        if held > size * 0.99:
            break
    return tar_files(taken)


def small_layers() -> list[bytes]:
    contents = itertools.cycle(list(itertools.islice(files(SMALL), LAYERS * EACH)))
    return [
        tar_files({f"layer{n}/d{m // 100}-{m}": content for m, content in enumerate(itertools.islice(contents, EACH))})
        for n in range(LAYERS)
    ]


def pushed(registry: Registry) -> None:
    registry.push(["little"], [layer(9 * MB)])
    registry.push(["one"], [layer(500 * MB)])
    registry.push(["ten"], small_layers())
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-format=zstd", "--src-tls-verify=false"]
    names = [f"docker://{registry.address}/{name}" for name in ("one", "zstd")]
    subprocess.run([*copy, "--dest-tls-verify=false", *names], check=True)


def pulled(one: Contestant, address: str, row: str) -> float:
    """One pull in ms."""
    image = cri.ImageSpec(image=f"{address}/{NAMES[row]}:latest")
    if row != UNCHANGED:
        one.daemon.call("RemoveImage", image=image)
    began = time.perf_counter()
    one.daemon.call("PullImage", image=image, deadline=600)
    return milliseconds(began)


def measured(contestants: list[Contestant], address: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """By row and contestant: one value a round. The order is turned round in every other."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in (LITTLE, UNCHANGED, ONE, ZSTD, TEN):
        for one in contestants:  # the first is not counted: programs and the registry's files are read from disk
            pulled(one, address, row)
        for number in range(rounds * (1 if row in (ONE, ZSTD, TEN) else 4)):
            for one in contestants if number % 2 == 0 else reversed(contestants):
                found.setdefault(row, {}).setdefault(one.name, []).append(pulled(one, address, row))
        print(f"{row}, load {load()}", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    lines = ["| ms | n | containerd | crishim | ratio |", "|---|---|---|---|---|"]
    for row, by in found.items():
        ours, theirs = by[CRUN], by[CONTAINERD]
        lines.append(f"| {row} | {len(ours)} | {spread(theirs)} | {spread(ours)} | {spread(ratios(ours, theirs))} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/bench pulls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="the table into docs/")
    known = parser.parse_args()
    isolate()
    as_installed()
    before, about = residue(), f"{machine()}, load {load()}"
    with (
        tempfile.TemporaryDirectory(prefix="cb-", dir="/dev/shm") as name,
        serve(Path(name), Path(name, "content")) as address,
    ):
        pushed(Registry(address, Path(name)))
        with running(crishim, address) as ours, running(containerd, address) as theirs:
            both = [Contestant(CRUN, ours), Contestant(CONTAINERD, theirs)]
            found = measured(both, address, known.rounds)
    about += f" to {load()}"
    print(f"{about}\n\n{table(found)}")
    if known.docs:
        put(ROOT / "docs/performance.md", MARKS, f"{about}\n\n{table(found)}")
    left = residue() - before
    print("nothing is left" if not left else f"{len(left)} things are left behind: {sorted(left)[:10]}")
    return int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
