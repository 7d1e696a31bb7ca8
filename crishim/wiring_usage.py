"""The part of the composition root that is about what containers use and may use: statistics, metrics, updates."""

from functools import partial
from pathlib import Path, PurePosixPath

from crishim.config import Config
from crishim.cri import resources, stats
from crishim.cri.metrics import rpcs as metrics
from crishim.cri.server import Functions
from crishim.cri.stats import Statistics
from crishim.engine.handlers import Handlers
from crishim.images.usage import measure
from crishim.model import ContainerRecord, PodRecord
from crishim.spec.inputs import Host
from crishim.state.locks import Locks
from crishim.state.store import Store
from crishim.stats.cgroups import Cgroups
from crishim.stats.devices import Devices
from crishim.stats.layers import Layers
from crishim.stats.meter import Meter
from crishim.verbs.checkpoint_container import checkpoint_container
from crishim.verbs.launch import Launcher
from crishim.verbs.update_container import update_container
from crishim.verbs.update_pod import update_pod
from crishim.wire.linux.pod_paths import PodPaths


def functions(
    config: Config,
    *,
    pods: Store[PodRecord],
    containers: Store[ContainerRecord],
    locks: Locks,
    handlers: Handlers,
    launcher: Launcher,
    paths: PodPaths,
) -> Functions:
    """Blocks shortly: it asks the kernel for its cgroup hierarchies."""
    state = Path(config.state_dir)
    statistics = Statistics(
        pods,
        containers,
        Meter(Cgroups.probe()),
        Layers(measure),
        writable=state / "writable",
        pod_cgroup=lambda pod: str(PurePosixPath(launcher.cgroup(pod, pod.id)).parent),
    )
    return {
        **stats.functions(statistics),
        **metrics.functions(statistics, Devices()),
        **resources.functions(
            update_container=partial(
                update_container,
                containers=containers,
                locks=locks,
                handlers=handlers,
                host=Host.probe(),
                say_once=launcher.say_once,
            ),
            update_pod=partial(update_pod, pods=pods),
            checkpoint_container=partial(
                checkpoint_container,
                containers=containers,
                locks=locks,
                handlers=handlers,
                bundle=launcher.bundle,
                writable=lambda id: state / "writable" / id / "upper",
                scratch=state / "checkpoints",
                paths=paths,
            ),
            pods=pods,
            containers=containers,
        ),
    }
