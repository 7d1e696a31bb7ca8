"""Mutants of a module: one small change each, made on its syntax tree. What changes only words is left alone."""

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
}
ORDERING = {"reversed", "sorted"}
SAID = {"log", "problems", "said"}  # `log.error(...)`, `problems.append(...)`: whether it is said, not what is done


class Mutant(NamedTuple):
    """key: stable while the function does not change. line: where; offset: from the function's first line.
    make(): the mutated module, a copy."""

    key: str
    line: int
    function: str  # qualified name
    offset: int
    make: Callable[[], ast.Module]


def _replacements(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(what it does, the node instead) of one node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            swapped = copy.copy(node)
            swapped.ops = [SWAPS[type(op)]()]  # type: ignore[list-item]
            yield "compares otherwise", swapped
        case ast.BoolOp(op=op):
            swapped_bool = copy.copy(node)
            swapped_bool.op = SWAPS[type(op)]()  # type: ignore[assignment]
            yield "and for or", swapped_bool
        case ast.BinOp(op=op) if type(op) in SWAPS and not isinstance(node.left, ast.JoinedStr | ast.Constant):
            swapped_bin = copy.copy(node)
            swapped_bin.op = SWAPS[type(op)]()  # type: ignore[assignment]
            yield "another operator", swapped_bin
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", node.operand
        case ast.UnaryOp(op=ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield "without minus", node.operand
        case ast.Constant(value=bool(value)):
            yield "the other truth", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "one more", ast.Constant(value + 1)
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in ORDERING:
            yield f"not {name}", ast.Call(ast.Name("list", ast.Load()), [first], [])
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp):
                negated = copy.copy(node)
                negated.test = ast.UnaryOp(ast.Not(), test)
                yield "the condition negated", negated
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Continue() | ast.Break():
            if not _says_only(node):
                yield "left out", ast.Pass()
        case ast.Raise():
            yield "no error", ast.Pass()
        case ast.Return(value=ast.Constant(value=bool())):
            pass  # the other truth is enough
        case ast.Return(value=ast.Constant(value="")):
            yield "returns text", ast.Return(ast.Constant("text"))
        case ast.Return(value=ast.expr()):
            if not (isinstance(node.value, ast.Constant) and node.value.value is None):
                yield "returns None", ast.Return(ast.Constant(None))


def _says_only(node: ast.AST) -> bool:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return bool(names & SAID) if isinstance(node, ast.Expr) else False


def mutants(source: str, module: str) -> list[Mutant]:
    """Every mutant of the functions of a module; what stands outside of functions is vocabulary."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: Counter[str] = Counter()
    for owner, name in functions(tree):
        for parent, field, position, node in _inside(owner):
            for what, instead in _replacements(node):
                text = " ".join(ast.unparse(node).split())[:70]
                label = f"{module}:{name}: {what}: {text}"
                seen[label] += 1
                number = f" #{seen[label]}" if seen[label] > 1 else ""
                make = partial(_mutated, tree, parent, field, position, instead, node)
                found.append(Mutant(label + number, node.lineno, name, node.lineno - owner.lineno, make))
    return found


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Functions and methods of a module with their qualified names; not those inside of others."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, f"{prefix}{child.name}"
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{prefix}{child.name}.")


def _inside(owner: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.stmt | ast.expr]]:
    """Each statement and expression of a function with its place; not the signature, nor f-strings."""
    todo: list[ast.AST] = [owner]
    while todo:
        parent = todo.pop()
        for field, value in ast.iter_fields(parent):
            if field in ("args", "decorator_list", "returns", "annotation") and not isinstance(parent, ast.Call):
                continue
            for position, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.JoinedStr):
                    continue
                if isinstance(node, ast.stmt | ast.expr):
                    yield parent, field, position, node
                if isinstance(node, ast.AST):
                    todo.append(node)


def _mutated(
    tree: ast.Module, parent: ast.AST, field: str, position: int | None, instead: ast.AST, node: ast.AST
) -> ast.Module:
    """A copy of the tree with the one change; the original is as it was."""
    ast.copy_location(instead, node)
    before = getattr(parent, field)
    changed = instead if position is None else [*before[:position], instead, *before[position + 1 :]]
    setattr(parent, field, changed)
    try:
        made = copy.deepcopy(tree)
    finally:
        setattr(parent, field, before)
    return ast.fix_missing_locations(made)
