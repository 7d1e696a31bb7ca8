"""The score of the device tests: of the mutants of crishim/netdev, how many does a test notice?

A mutant that no test can notice has its reason in justified.txt beside this file ("KEY<tab>REASON" a line). Exit status
1 if another one survives, or if a justified one is noticed after all.
"""

import argparse
import random
import sys
from pathlib import Path

from hack.mutation.operators import Mutant, mutants
from hack.mutation.run import reach, survives

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "crishim/netdev"
JUSTIFIED = Path(__file__).with_name("justified.txt")
MOST_TESTS = 60  # the quickest that reach the line: what these do not notice, a hundred more seldom do
SECONDS = 120.0
# One mover is enough: the movers share all but one function, and a container of a runtime costs half a second.
TESTS = ["tests/unit/netdev", "tests/node/netdev"]
LEFT_OUT = "machine or walk or killed_daemon or runc-moves or crun-moves or youki-moves or builtin-runc or builtin-crun"


def main() -> int:
    arguments = _arguments()
    chosen = _chosen(arguments)
    if arguments.list:
        sys.stdout.writelines(f"{m.key}\n" for _, m in chosen)
        return 0
    reached = reach([*TESTS, "-k", f"not ({LEFT_OUT})"], PACKAGE)
    print(f"{sum(map(len, reached.values()))} pairs of line and test", flush=True)
    justified = dict(line.split("\t") for line in JUSTIFIED.read_text().splitlines() if line and line[0] != "#")
    survivors, unreached, needless = [], [], []
    for number, (path, mutant) in enumerate(chosen, 1):
        tests = reached.get((str(path), mutant.line), [])
        module = f"crishim.netdev.{path.stem}"
        lives = not tests or survives(module, path, mutant.tree, tests[:MOST_TESTS], SECONDS)
        if lives and mutant.key not in justified:
            (survivors if tests else unreached).append(mutant)
        elif not lives and mutant.key in justified:
            needless.append(mutant)
        print(f"{number}/{len(chosen)} {'SURVIVES' if lives else 'noticed '} {mutant.line:4} {mutant.key}", flush=True)
    return _report(len(chosen), survivors, unreached, needless)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants, chosen by the seed; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", default="*", help="of one module of crishim/netdev")
    parser.add_argument("--list", action="store_true", help="name the mutants and run nothing")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th of them, to run N side by side")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[tuple[Path, Mutant]]:
    found = [
        (path, mutant)
        for path in sorted(PACKAGE.glob(f"{arguments.module}.py"))
        for mutant in mutants(path.read_text(), path.stem)
    ]
    if arguments.sample:
        found = random.Random(arguments.seed).sample(found, min(arguments.sample, len(found)))
    part, parts = map(int, arguments.part.split("/"))
    return found[part - 1 :: parts]


def _report(total: int, survivors: list[Mutant], unreached: list[Mutant], needless: list[Mutant]) -> int:
    for title, rows in (
        ("no test notices", survivors),
        ("no test reaches", unreached),
        ("justified, but noticed", needless),
    ):
        for mutant in rows:
            print(f"{title}: line {mutant.line}: {mutant.key}")
    alive = len(survivors) + len(unreached)
    share = 100 * (total - alive) / max(total, 1)
    print(f"score: {total - alive} of {total} mutants noticed or justified ({share:.1f} %)")
    return 1 if alive or needless else 0


if __name__ == "__main__":
    sys.exit(main())
