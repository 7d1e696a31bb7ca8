"""The short form of fuzzing: every kept input, and some new ones for each parser. hack/campaign fuzz is the long form.

A parser that loops is ended by the test's timeout; one that raises what is not its own error fails here.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutated
from tests.fuzz.table import corpus, targets

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input(name: str) -> None:
    """What once broke a parser does not any more."""
    kept = corpus(name)
    assert kept, f"tests/fuzz/corpus/{name} has no input to begin with"
    for data in kept:
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_new_inputs(name: str) -> None:
    """Any bytes, and the kept inputs changed at random."""
    kept, target = corpus(name), TARGETS[name]

    @settings(max_examples=150, database=None)
    @given(st.one_of(st.integers(0, 2**64).map(lambda seed: mutated(kept, random.Random(seed))), st.binary()))
    def run(data: bytes) -> None:
        target(data)

    run()
