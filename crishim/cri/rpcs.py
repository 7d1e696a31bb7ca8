"""All RPCs: the functions named like a method of a service, in the module of their subject."""

from crishim.cri import (
    admin,
    checkpoints,
    containers,
    device_changes,
    events,
    exec,
    images,
    pods,
    resources,
    services,
    stats,
    status,
)
from crishim.cri.metrics import rpcs as metrics

MODULES = (
    status,
    pods,
    containers,
    exec,
    events,
    images,
    stats,
    metrics,
    resources,
    checkpoints,
    admin,
    device_changes,
)


def collect() -> services.Rpcs:
    """The RPCs by name. Raises ValueError if two modules have one of the same name."""
    return services.collect(MODULES)
