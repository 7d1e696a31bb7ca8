"""RPCs are found by their names."""

import inspect
from types import ModuleType

import pytest

from crishim.cri import rpcs
from crishim.cri.services import SERVICES


def test_every_method_has_its_function() -> None:
    """A coroutine function of node and request, or for a method that streams an async generator function."""
    found = rpcs.collect()
    methods = {method.name: method for service in SERVICES for method in service.methods}
    assert found.keys() == methods.keys()
    for name, function in found.items():
        assert list(inspect.signature(function).parameters) == ["node", "request"], name
        streams = inspect.isasyncgenfunction(function)
        assert streams == methods[name].server_streaming, name
        assert streams or inspect.iscoroutinefunction(function), name


def test_one_name_in_two_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours, and said at the start."""
    other = ModuleType("other")
    exec("async def Version(node, request): ...", other.__dict__)
    other.Version.__module__ = "other"
    monkeypatch.setattr(rpcs, "MODULES", (*rpcs.MODULES, other))
    with pytest.raises(ValueError, match="Version"):
        rpcs.collect()
