"""BaseNode: the part of the node that exists when the daemon starts: settings, OCI runtimes, pod networks.

It answers Version, Status and RuntimeConfig (cri/status.py) while the rest of the code is imported and records are
read; node.py makes the complete Node from it.
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
    """The settings in force, replaced by a reload (operations/reload_settings.py)."""

    def __init__(self, config: Config) -> None:
        self.in_force = config


@dataclass(frozen=True, eq=False, repr=False)
class BaseNode:
    """The settings and the drivers that need neither records nor images nor devices."""

    config: Config  # at the daemon's start; settings.in_force after a reload
    settings: CurrentSettings
    fitness: Fitness
    began: int  # when this daemon started, ns since the epoch
    tasks: Tasks
    handlers: Handlers
    network_configs: ConfigDirectory
    networks: PodNetworks
    traces: Traces
    limiter: Limiter  # of expensive programs: CNI ADD, the OCI runtime's create


def open_base_node(config: Config) -> BaseNode:
    """Find the runtimes and make the drivers; starts nothing. Call make_directories() before. Blocks briefly.

    Raises ConfigError if the default runtime is not installed.
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
    """The installed runtimes; only the default one must be installed."""
    programs = {name: find_program(handler.path) for name, handler in config.runtimes.handlers.items()}
    if programs[config.runtimes.default] is None:
        handler = config.runtimes.handlers[config.runtimes.default]
        raise ConfigError(f"runtimes.handlers.{config.runtimes.default}.path: there is no program {handler.path}")
    installed = {name: path for name, path in programs.items() if path is not None}
    run = Path(config.run_dir)
    retired = remember(run / "handlers", installed, run / "runtime")

    def runtime(name: str, path: str) -> Runtime:
        systemd = config.runtimes.cgroup_driver == "systemd"
        return Runtime(name, path, run / "runtime" / name, timeout=config.runtimes.timeout, systemd=systemd)

    return Handlers(
        {name: runtime(name, path) for name, path in installed.items()},
        config.runtimes.default,
        {name: runtime(name, path) for name, path in retired.items()},
    )
