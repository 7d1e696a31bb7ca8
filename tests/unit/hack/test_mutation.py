"""hack/mutation: what is changed, and what is left alone."""

import ast

from hack.mutation.operators import mutants

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
    texts = [ast.unparse(m.tree) for m in found]
    assert len(set(texts)) == len(texts)
    assert whole not in texts
    assert [m.key.partition(": ")[2] for m in sorted(found)] == [
        "compares otherwise: up == LIMIT",
        "left out: items.sort()",
        'no error: raise ValueError(f"no {items}")'.replace('"', "'"),
        "not reversed: reversed(items)",
        "returns None: return list(reversed(items)) if up == LIMIT else items",
        "without not: not items",
    ]
    assert {m.key.split(":")[1] for m in found} == {"order"}
