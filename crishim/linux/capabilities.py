"""The daemon's own capabilities, through pyprctl (capabilities(7)); the only module that imports it."""

import pyprctl


def held() -> frozenset[str]:
    """Capabilities this thread may use, as "CAP_SYS_ADMIN"."""
    return frozenset(f"CAP_{capability.name.upper()}" for capability in pyprctl.CapState.get_current().permitted)
