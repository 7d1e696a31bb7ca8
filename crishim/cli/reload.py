"""Reload the settings at SIGHUP, which the unit's `ExecReload` sends."""

import asyncio
import logging
from collections.abc import Callable

from crishim.config import Config, ConfigError
from crishim.config_paths import check_nri, check_paths
from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.node import Node
from crishim.operations.reload_settings import reload_settings

log = logging.getLogger("crishim")


async def reload_at(hangup: asyncio.Event, node: Node, read: Callable[[], Config]) -> None:
    """Each time hangup is set: read the settings, apply what can be changed, and log it. Runs until cancelled.

    Invalid settings change nothing; the reason is logged.
    """
    while True:
        await hangup.wait()
        hangup.clear()
        try:
            wanted = await executors.records(_usable, read)
        except (ConfigError, CrishimError, OSError) as error:
            log.error("settings were not reloaded, those before stay in force", extra={"why": str(error)})
            continue
        done = reload_settings(node, wanted)
        log.info("settings were reloaded", extra={"changed": done.changed})
        if done.waiting:
            log.warning("these settings change with the next start only", extra={"settings": done.waiting})


def _usable(read: Callable[[], Config]) -> Config:
    config = read()
    check_paths(config)
    check_nri(config)
    return config
