"""hack/campaign: the parts that are asked for, one after the other, and one table at the end."""

import argparse
import random
import signal
import sys
from collections.abc import Callable

from hack.campaigns.table import Row, failed, render
from tests.support.isolation import isolate


def parts(options: argparse.Namespace) -> dict[str, Callable[[], list[Row]]]:
    from hack.campaigns import awaits_run, crowds, fuzz, hung, kills

    return {
        "awaits": lambda: awaits_run.campaign(short=options.short, only=options.only),
        "hung": lambda: hung.campaign(0 if options.short else 15, options.only),
        "crowds": lambda: crowds.campaign(0.05 if options.short else 1.0, options.only),
        "fuzz": lambda: fuzz.campaign(options.inputs, options.seed, options.only),
        "kills": lambda: kills.campaign(options.kills, options.seed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="hack/campaign", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="kills, awaits, hung, crowds, fuzz; default: all")
    parser.add_argument("--short", action="store_true", help="two minutes instead of hours")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs for each parser")
    parser.add_argument("--only", default="", help="awaits, hung, fuzz: only what begins so (fuzz: or so,or so)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = parser.parse_args()
    if options.short:
        options.kills, options.inputs = min(options.kills, 10), min(options.inputs, 2000)
    known = parts(options)
    unknown = set(options.parts) - set(known)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what was made is taken away
    isolate()
    rows: list[Row] = []
    for name in options.parts or known:
        print(f"campaign: {name}, seed {options.seed}", flush=True)
        rows += known[name]()
    print(render(rows), flush=True)
    sys.exit(failed(rows))


if __name__ == "__main__":
    main()
