"""The score of the device tests: of the mutants of crishim/netdev, how many does a test notice?

A mutant that no test can notice has its reason in justified.txt beside this file ("KEY<tab>REASON" a line). Exit
status 1 if another one survives, or if a justified one is noticed after all. What earlier runs found is
remembered (memory.py).
"""

import argparse
import random
import sys
from pathlib import Path

from hack.mutation.campaign import Campaign
from hack.mutation.memory import Memory
from hack.mutation.operators import Mutant, mutants
from hack.mutation.session import Tests, with_tests

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "crishim/netdev"
JUSTIFIED = Path(__file__).with_name("justified.txt")
# One mover of each sort: the movers share all but one function, and a runtime's container costs half a second.
TESTS = ["tests/unit/netdev", "tests/node/netdev"]
LEFT_OUT = (
    "machine or walk or killed_daemon or crun-moves or youki-moves or builtin-runc or builtin-crun or two_hundred"
)


def main() -> int:
    arguments = _arguments()
    chosen = _chosen(arguments)
    if arguments.list:
        sys.stdout.writelines(f"{m.key}\n" for _, m in chosen)
        return 0
    justified = dict(line.split("\t") for line in JUSTIFIED.read_text().splitlines() if line and line[0] != "#")

    def work(tests: Tests) -> int:
        campaign = Campaign(tests, Memory(), PACKAGE, afresh=arguments.afresh)
        for number, (path, mutant) in enumerate(chosen, 1):
            verdict = campaign.judge(path, mutant, justified)
            print(f"{number}/{len(chosen)} {verdict:8} {mutant.line:4} {mutant.key}", flush=True)
        return campaign.report()

    return with_tests(TESTS[:1] if arguments.unit else [*TESTS, "-k", f"not ({LEFT_OUT})"], PACKAGE, work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=0, help="only so many mutants, chosen by the seed; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", default="*", help="of one module of crishim/netdev, or of those of a pattern")
    parser.add_argument("--unit", action="store_true", help="by the unit tests alone: minutes, and no root")
    parser.add_argument("--list", action="store_true", help="name the mutants and run nothing")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th of them, to run N side by side")
    parser.add_argument("--afresh", action="store_true", help="believe nothing of what earlier runs found")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[tuple[Path, Mutant]]:
    found = [
        (path, mutant)
        for pattern in arguments.module.split(",")
        for path in sorted(PACKAGE.glob(f"{pattern}.py"))
        for mutant in mutants(path.read_text(), path.stem)
    ]
    if arguments.sample:
        found = random.Random(arguments.seed).sample(found, min(arguments.sample, len(found)))
    part, parts = map(int, arguments.part.split("/"))
    return found[part - 1 :: parts]


if __name__ == "__main__":
    sys.exit(main())
