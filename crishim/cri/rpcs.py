"""All RPCs: the functions that are called like a method of a service, in the module of their subject."""

from types import FunctionType

from crishim.cri import admin, containers, events, exec, images, pods, resources, stats, status
from crishim.cri.metrics import rpcs as metrics
from crishim.cri.server import SERVICES, Rpcs

MODULES = (status, pods, containers, exec, events, images, stats, metrics, resources, admin)


def collect() -> Rpcs:
    """By name. ValueError if two modules have one of the same name."""
    names = {method.name for service in SERVICES for method in service.methods}
    found: dict[str, FunctionType] = {}
    for module in MODULES:
        for name in names & vars(module).keys():
            function = vars(module)[name]
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                if name in found:
                    raise ValueError(f"{name} is in {module.__name__} and in {found[name].__module__}")
                found[name] = function
    return found
