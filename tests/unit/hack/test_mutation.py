"""hack/mutation: what is changed, and what is left alone; how it is tried, and remembered."""

import ast
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hack.mutation.child import adopt_orphans, in_child
from hack.mutation.memory import Memory, function_digest, relative
from hack.mutation.operators import mutants
from hack.mutation.swap import live_functions, swap

SOURCE = '''
LIMIT = 3

def order(items, up):
    """Words."""
    if not items:
        raise ValueError(f"no {items}")
    log.info("ordering")
    items.sort()
    return list(reversed(items)) if up == LIMIT else items
'''


def test_each_mutant_is_one_change() -> None:
    """Conditions, operators, order, statements and results; not the words of messages, logs and docstrings."""
    found = mutants(SOURCE, "example")
    whole = ast.unparse(ast.parse(SOURCE))
    texts = [ast.unparse(m.make()) for m in found]
    assert len(set(texts)) == len(texts)
    assert whole not in texts
    assert [m.key.partition(": ")[2] for m in sorted(found, key=lambda m: m.key)] == [
        "compares otherwise: up == LIMIT",
        "left out: items.sort()",
        'no error: raise ValueError(f"no {items}")'.replace('"', "'"),
        "not reversed: reversed(items)",
        "returns None: return list(reversed(items)) if up == LIMIT else items",
        "without not: not items",
    ]
    assert {m.key.split(":")[1] for m in found} == {"order"}


def test_a_mutant_is_put_into_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a name was imported from, a decorator wraps it, or a subclass inherits it."""
    source = """
from contextlib import contextmanager

ONE = 1

class Count:
    @property
    def two(self):
        return ONE + ONE

class Heir(Count):
    pass

@contextmanager
def three():
    yield ONE + 2
"""
    (tmp_path / "mutated_example.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mutated_example")
    monkeypatch.delitem(sys.modules, "mutated_example")
    live, path = live_functions(f"{tmp_path}/"), str(tmp_path / "mutated_example.py")
    for mutant in mutants(source, "mutated_example"):
        if "another operator" in mutant.key:
            swap(live, path, mutant.function, mutant.make())
    assert module.Heir().two == 0
    with module.three() as three:
        assert three == -1
    with pytest.raises(LookupError, match="gone"):
        swap(live, path, "gone", ast.parse("def gone(): pass"))


def test_work_in_a_child() -> None:
    """Its result, its end and its delay are told apart; what it started is gone."""

    def start() -> int:
        return subprocess.Popen(["sleep", "60"], start_new_session=True).pid

    def left_behind() -> bool:
        adopt_orphans()
        return Path(f"/proc/{in_child(start, 20)}").exists()

    assert in_child(left_behind, 40) is False
    with pytest.raises(EOFError):
        in_child(lambda: os._exit(3), 20)
    with pytest.raises(TimeoutError):
        in_child(lambda: time.sleep(60), 0.1)


def test_what_is_remembered(tmp_path: Path) -> None:
    """The last of a key, also in another run; lines are counted from a function's first."""
    memory = Memory(tmp_path / "sub/memory.jsonl")
    memory.put("trace", "a", [1])
    memory.put("trace", "a", [2])
    assert Memory(tmp_path / "sub/memory.jsonl").get("trace", "a") == [2]
    assert memory.get("mutant", "a") is None
    metrics = Path(__file__).parents[3] / "crishim/netdev/metrics.py"
    first = next(i for i, line in enumerate(metrics.read_text().splitlines(), 1) if "def fail(" in line)
    assert relative([(str(metrics), first), (str(metrics), first + 2), (str(metrics), 1)]) == {
        "crishim/netdev/metrics.py:Metrics.fail": [0, 2]
    }
    assert function_digest("crishim/netdev/metrics.py:Metrics.fail") != function_digest(
        "crishim/netdev/metrics.py:Metrics.fall"
    )
