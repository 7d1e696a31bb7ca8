"""The part of the node that is there from the first moment: settings, OCI runtimes, pod networks.

It answers Version, Status and RuntimeConfig (cri/status.py) while the rest of the daemon's code is still being imported
and no record is read; node.py makes the whole Node around it.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from crishim.cni.chain import PluginChain
from crishim.cni.directory import ConfigDirectory
from crishim.cni.network import PodNetworks
from crishim.config import Config, ConfigError
from crishim.config_paths import find_program
from crishim.engine.handlers import Handlers, remember
from crishim.engine.runtime import Runtime
from crishim.fitness import Fitness
from crishim.linux.limiter import Limiter
from crishim.operations.tasks import Tasks
from crishim.traces import Traces


class CurrentSettings:
    """What changes when settings are reloaded (operations/reload_settings.py)."""

    def __init__(self, config: Config) -> None:
        self.in_force = config


@dataclass(frozen=True, eq=False, repr=False)
class BaseNode:
    """What needs neither records nor images nor devices."""

    config: Config  # as the daemon began with it
    settings: CurrentSettings
    fitness: Fitness
    began: int  # when this daemon began, ns since the epoch
    tasks: Tasks
    handlers: Handlers
    network_configs: ConfigDirectory
    networks: PodNetworks
    traces: Traces
    limiter: Limiter  # of heavy programs: CNI ADD, the OCI runtime's create


def open_base_node(config: Config) -> BaseNode:
    """Find the runtimes and make the drivers, after make_directories(); nothing runs yet. Blocks briefly.

    ConfigError if the default runtime is not there.
    """
    limiter = Limiter()
    networks = ConfigDirectory(Path(config.network.config_dir), config.network.choose)
    return BaseNode(
        config=config,
        settings=CurrentSettings(config),
        fitness=Fitness(config),
        began=time.time_ns(),
        tasks=Tasks(),
        traces=Traces(),
        handlers=_handlers(config),
        network_configs=networks,
        networks=PodNetworks(networks, PluginChain(config.network.plugin_dirs, config.network.timeout), limiter),
        limiter=limiter,
    )


def _handlers(config: Config) -> Handlers:
    """The runtimes that are there; only the default one has to be."""
    programs = {name: find_program(handler.path) for name, handler in config.runtimes.handlers.items()}
    if programs[config.runtimes.default] is None:
        handler = config.runtimes.handlers[config.runtimes.default]
        raise ConfigError(f"runtimes.handlers.{config.runtimes.default}.path: there is no program {handler.path}")
    there = {name: path for name, path in programs.items() if path is not None}
    run = Path(config.run_dir)
    retired = remember(run / "handlers", there, run / "runtime")

    def runtime(name: str, path: str) -> Runtime:
        systemd = config.runtimes.cgroup_driver == "systemd"
        return Runtime(name, path, run / "runtime" / name, timeout=config.runtimes.timeout, systemd=systemd)

    return Handlers(
        {name: runtime(name, path) for name, path in there.items()},
        config.runtimes.default,
        {name: runtime(name, path) for name, path in retired.items()},
    )
