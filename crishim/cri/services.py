"""The gRPC services, and how RPCs are collected: the functions named like a method of one of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from crishim.pb import admin_pb2 as admin
from crishim.pb import cri_pb2 as cri

Unary = Callable[[Any, Any], Awaitable[Any]]  # of node and request
Streaming = Callable[[Any, Any], AsyncIterator[Any]]
Rpcs = Mapping[str, Unary | Streaming]

SERVICES = (*cri.DESCRIPTOR.services_by_name.values(), *admin.DESCRIPTOR.services_by_name.values())


def collect(modules: Iterable[ModuleType]) -> Rpcs:
    """The RPCs of modules by name. Raises ValueError if two modules have one of the same name."""
    names = {method.name for service in SERVICES for method in service.methods}
    found: dict[str, FunctionType] = {}
    for module in modules:
        for name in names & vars(module).keys():
            function = vars(module)[name]
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                if name in found:
                    raise ValueError(f"{name} is in {module.__name__} and in {found[name].__module__}")
                found[name] = function
    return found
