"""A million inputs for each parser, in as many processes as there are cores; what breaks one is kept.

An input breaks a parser if it raises, takes more than SECONDS of processor time, or needs more than MEMORY beyond what
the process had. It is written to tests/fuzz/corpus/NAME/, where hack/test tries it for ever after.
"""

import contextlib
import hashlib
import logging
import multiprocessing
import os
import random
import resource
import signal
import time
from typing import NamedTuple

from hack.campaigns.table import Row
from tests.fuzz.mutate import mutated
from tests.fuzz.table import HERE, Target, corpus, targets

SECONDS = 2.0  # of processor time for one input; inputs are 64 KiB at most
MEMORY = 512 << 20  # bytes
SHARE = 5000  # inputs a process does before it asks for more work
CHEAP = 0.003  # seconds
MOST = 5  # findings of one parser after which it is left


class Share(NamedTuple):
    """One piece of work, and what came of it."""

    name: str
    seed: int
    inputs: int


class Found(NamedTuple):
    name: str
    inputs: int
    seconds: float  # of processor time
    slowest: float
    findings: list[tuple[str, bytes]]


class _TooSlow(BaseException):
    pass


def campaign(inputs: int, seed: int, only: str = "") -> list[Row]:
    """A row for each parser."""
    names = [name for name in targets() if name.startswith(tuple(only.split(",")))]
    shares = [
        Share(name, seed * 1_000_003 + number, min(SHARE, inputs - number * SHARE))
        for name in names  # one parser after the other: what a campaign that was ended had done still counts
        for number in range(-(-inputs // SHARE))
    ]
    rows = {name: Row("fuzz", name) for name in names}
    seconds, slowest = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), _limit) as pool:
        for found in pool.imap_unordered(_run, shares):
            row = rows[found.name]
            row.runs += found.inputs
            seconds[found.name] += found.seconds
            slowest[found.name] = max(slowest[found.name], found.slowest)
            for text, data in found.findings:
                if len(row.lost) < MOST:
                    row.lost.append(f"{text} (kept as {_keep(found.name, data)})")
                    print(f"fuzz: {found.name}: {row.lost[-1]}", flush=True)
            if row.runs == inputs:
                print(f"fuzz: {row.part}: {inputs:,} inputs, {len(row.lost)} broke it", flush=True)
        pool.close()  # and not terminated: the processes remove what they made at their end
        pool.join()
    for name, row in rows.items():
        each = seconds[name] / max(row.runs, 1) * 1e6
        row.says = f"{each:.0f} µs an input, the slowest {slowest[name] * 1000:.0f} ms"
    return list(rows.values())


def _keep(name: str, data: bytes) -> str:
    path = HERE / "corpus" / name / f"broke-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return path.name


def _limit() -> None:
    """In each process, once: an end to what a parser may need, and no line for each of a million damaged records."""
    logging.getLogger().addHandler(logging.NullHandler())
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + (2 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    signal.signal(signal.SIGVTALRM, _too_slow)


def _too_slow(number: int, frame: object) -> None:
    raise _TooSlow


def _is_cheap(target: Target, data: bytes) -> bool:
    """Whether to make a million others of an input; what is dear by intent is tried as it is, by hack/test."""
    started = time.process_time()
    with contextlib.suppress(Exception):  # one that breaks it was found before
        target(data)
    return time.process_time() - started < CHEAP


def _run(share: Share) -> Found:
    chance, target = random.Random(share.seed), targets()[share.name]
    seeds = [data for data in corpus(share.name) if _is_cheap(target, data)]
    findings: list[tuple[str, bytes]] = []
    slowest, started = 0.0, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(share.inputs):
        data = mutated(seeds, chance)
        before = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            target(data)
        except (Exception, _TooSlow) as error:
            findings.append((f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", data))
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        slowest = max(slowest, time.process_time() - before)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if (grown - peak) * 1024 > MEMORY:
            findings.append((f"{(grown - peak) >> 10} MiB for {len(data)} bytes", data))
        peak = max(peak, grown)
        if len(findings) >= MOST:
            break
    return Found(share.name, share.inputs, time.process_time() - started, slowest, findings)
