"""What the CRI asks for, and the tests that show it: each carries @pytest.mark.fact with the RPC's or the fact's name.

`pytest -m fact` runs them all. An RPC or a fact that no test carries any more is noticed here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from crishim.pb import cri_pb2 as cri

TESTS = Path(__file__).parents[1]
FACTS = {
    # fields of the definition
    *("env values are bytes", "Signal names", "user namespaces", "recursive_read_only", "image volumes"),
    *("image_ref of an image volume", "supplemental groups", "run_as_group", "run_as_group of the sandbox"),
    *("seccomp, AppArmor, SELinux", "PID mode", "host_path", "mount_options", "cgroup_parent"),
    "hugepages, unified, swap, cpuset, oom_score_adj",
    # what a kubelet stands on
    *("NotFound", "labels and annotations survive", "pod IP and network mode", "a retried RunPodSandbox"),
    *("List never waits", "16 MiB", "answers during recovery", "image collection", "log lines and rotation"),
    *("UNIMPLEMENTED only where it is", "wrappers are set", "feature gates", "events carry pod metadata"),
    "no Stream* is UNIMPLEMENTED",
    # streaming
    *("SPDY and WebSocket", "reference behaviour", "exit codes"),
}


def marked() -> Iterator[tuple[str, str]]:
    """(fact, test) of every mark in the tree."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fact":
                        for name in mark.args:
                            yield ast.literal_eval(name), f"{path.relative_to(TESTS)}::{node.name}"


def test_every_rpc_and_fact_has_a_test() -> None:
    """And no mark names what is neither."""
    rpcs = {m.name for s in cri.DESCRIPTOR.services_by_name.values() for m in s.methods}
    assert {fact for fact, _ in marked()} == rpcs | FACTS
