"""Filters of the List RPCs."""

from collections.abc import Mapping


def selects_labels(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether labels have every pair of the selector; an empty selector selects all."""
    return all(labels.get(key) == value for key, value in selector.items())
