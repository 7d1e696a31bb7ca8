"""One mutant after the other: which tests to try, in which order, what is remembered, and the score."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from hack.mutation.memory import Memory, digest, function_digest, place, relative, test_digest
from hack.mutation.operators import Mutant
from hack.mutation.session import Tests

MOST_TESTS = 60  # the quickest that reach the line: what these do not notice, a hundred more seldom do
SECONDS = 10.0  # and ten times what a test takes without a mutant: one that takes longer has noticed it


class Campaign:
    """A run over mutants."""

    def __init__(self, tests: Tests, memory: Memory, package: Path, *, afresh: bool) -> None:
        self._tests, self._memory, self._afresh = tests, memory, afresh
        self._digests = {name: test_digest(tests.file(name)) for name in tests.names}
        self._seconds: dict[str, float] = {}
        self._reached: dict[tuple[str, int], list[str]] = defaultdict(list)  # (place(), line) -> tests
        self._noticed: dict[str, Counter[str]] = defaultdict(Counter)  # by file: tests that noticed
        self._rows: dict[str, list[Mutant]] = defaultdict(list)
        self._look()

    def _look(self) -> None:
        """Learn which test reaches which line, quickest first: what is not known yet is run, as it is."""
        unknown = [name for name in self._tests.names if not self._known_trace(name)]
        print(f"{len(self._tests.names)} tests, {len(unknown)} to be run without a mutant first", flush=True)
        for name in unknown:
            trace = self._tests.trace(name)
            lines = relative(trace.lines)
            functions = {where: function_digest(where) for where in lines}
            value = [self._digests[name], functions, lines, round(trace.seconds, 3)]
            self._memory.put("trace", name, value)
        known = {name: self._memory.get("trace", name) for name in self._tests.names}
        self._seconds = {name: value[3] for name, value in known.items()}
        for name in sorted(known, key=lambda n: self._seconds[n]):
            for where, lines in known[name][2].items():
                for line in lines:
                    self._reached[where, line].append(name)

    def _known_trace(self, name: str) -> bool:
        value = self._memory.get("trace", name)
        if value is None or value[0] != self._digests[name]:
            return False
        return all(function_digest(where) == old for where, old in value[1].items())

    def judge(self, path: Path, mutant: Mutant, justified: Mapping[str, str]) -> str:
        """One word on a mutant, which is counted."""
        where = place(path, mutant.function)
        tests = self._reached.get((where, mutant.offset), [])
        counts = self._noticed[str(path)]
        last = (self._memory.get("mutant", mutant.key) or ["", ""])[1]
        # Of those alike, the quickest: they are in that order.
        tests = sorted(tests, key=lambda t: (t != last, -counts[t], path.stem not in t))[:MOST_TESTS]
        killer = self._ask(path, where, mutant, tests) if tests else ""
        counts[killer] += 1
        if not killer and mutant.key in justified:
            verdict = "justified"
        elif not killer:
            verdict = "SURVIVES" if tests else "UNREACHED"
        else:
            verdict = "NEEDLESS" if mutant.key in justified else "noticed"
        self._rows[verdict].append(mutant)
        return verdict

    def _ask(self, path: Path, where: str, mutant: Mutant, tests: list[str]) -> str:
        """The test that notices, from memory if that still holds."""
        code = function_digest(where)
        all_of_them = digest(*sorted(f"{t} {self._digests[t]}" for t in tests))
        known = self._memory.get("mutant", mutant.key)
        if known is not None and not self._afresh and known[0] == code:
            if known[1] and (known[2] == self._digests.get(known[1]) or known[2] == all_of_them):
                return str(known[1])
            if not known[1] and known[2] == all_of_them:
                return ""
        killer = self._tests.notices(path, mutant, {t: SECONDS + 10 * self._seconds[t] for t in tests})
        if killer or known is None or not known[1]:  # what noticed it once is worth a try the next time, too
            self._memory.put("mutant", mutant.key, [code, killer, self._digests.get(killer, all_of_them)])
        return killer

    def report(self) -> int:
        """Print what is left to do and the score; the exit status."""
        for verdict, title in (
            ("SURVIVES", "no test notices"),
            ("UNREACHED", "no test reaches"),
            ("NEEDLESS", "justified, but noticed"),
        ):
            for mutant in self._rows[verdict]:
                print(f"{title}: line {mutant.line}: {mutant.key}")
        total = sum(map(len, self._rows.values()))
        alive = len(self._rows["SURVIVES"]) + len(self._rows["UNREACHED"])
        share = 100 * (total - alive) / max(total, 1)
        noticed, justified = len(self._rows["noticed"]) + len(self._rows["NEEDLESS"]), len(self._rows["justified"])
        print(f"score: {noticed} noticed, {justified} justified of {total} mutants ({share:.1f} %)")
        return 1 if alive or self._rows["NEEDLESS"] else 0
