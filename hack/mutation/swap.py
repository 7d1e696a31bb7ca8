"""A mutant is put into a running process: the functions that are imported already get the code of the mutated tree."""

import ast
import gc
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType

Live = dict[tuple[str, str], list[FunctionType]]  # (file, qualified name) -> functions, methods, what decorators wrap


def live_functions(root: str) -> Live:
    """Every function of the modules below `root` that there is; those inside of others come with their owner."""
    found: Live = defaultdict(list)
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(root):
            found[thing.__code__.co_filename, thing.__code__.co_qualname].append(thing)
    return found


def swap(live: Live, path: str, function: str, tree: ast.Module) -> None:
    """Give the function the code it has in the tree. Raises LookupError if it is not alive here."""
    code = next(c for c in _codes(compile(tree, path, "exec")) if c.co_qualname == function)
    functions = live.get((path, function))
    if not functions:
        raise LookupError(f"{function} of {path} is not imported by the tests")
    for each in functions:
        each.__code__ = code


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)
