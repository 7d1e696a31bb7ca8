"""`crishim cleanup`: list and remove what is left of pods and containers without a record; and uninstall.

It prints what it would remove; --apply removes it, while no daemon runs: a daemon removes orphans when it starts, and
the two would remove each other's pods. Three classes, by an item's owner:

    recorded    has a readable record: kept, unless --all
    unknown     has an unreadable record, or runs without one (operations/adopt.py): kept, unless --unknown or --all
    orphan      all others: removed

Pods and containers are removed as by CRI, as far as they are known: devices and addresses are returned. The rest is
removed item by item.
"""

import asyncio
import fcntl
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crishim.base_node import open_base_node
from crishim.config import Config, ConfigError
from crishim.config_paths import check_paths
from crishim.cri import record_checks
from crishim.cri.stream.server import StreamServer
from crishim.errors import CrishimError
from crishim.ids import is_id
from crishim.linux import cgroups, executors, mounts, record_files, slices
from crishim.linux.record_files import Found
from crishim.model import ContainerRecord, PodRecord
from crishim.netdev import adopt
from crishim.netdev.records import Attachment
from crishim.node import Node, open_node
from crishim.operations import inventory
from crishim.operations.inventory import Item, Locations
from crishim.operations.own_directories import make_directories
from crishim.operations.recover import recover
from crishim.operations.remove_container import remove_container
from crishim.operations.remove_pod import remove_pod

DRAIN = 30.0  # seconds for background work of the pods' removal


class Options(NamedTuple):
    """The command's options."""

    apply: bool = False
    unknown: bool = False
    all: bool = False


class KnownIds(NamedTuple):
    """Ids of pods, containers and attachments, by whether their record is readable."""

    recorded: frozenset[str]
    unknown: dict[str, str]  # id: reason

    def goes(self, thing: Item, options: Options) -> bool:
        owner = thing.name.rpartition("crishim-")[2] if thing.kind == "device mark" else thing.owner
        return options.all or (owner not in self.recorded and (options.unknown or owner not in self.unknown))


def clean_up(config: Config, options: Options) -> int:
    """Print what is found, and with options.apply remove it; returns 1 if something could not be removed."""
    parent = slices.parent(config.pods.cgroup_parent, config.runtimes.cgroup_driver == "systemd")
    places = Locations(Path(config.state_dir), Path(config.run_dir), parent, Path(config.network.config_dir))
    logging.basicConfig(level=logging.ERROR, format="crishim: %(message)s", stream=sys.stderr)
    if not options.apply:
        if any(_is_locked(directory) for directory in (places.state, places.run)):
            sys.stderr.write("crishim: a daemon is running: what it is just making may be in this list\n")
        going = _report(places, options)
        if going:
            sys.stdout.write("nothing was changed: crishim cleanup --apply does it\n")
        return 0
    from crishim.cli.serve import only_daemon

    check_paths(config)
    make_directories(config)
    try:
        with only_daemon(places.state, places.run):
            _report(places, options)
            failures = asyncio.run(_apply(config, places, options))
            left = [thing for thing in inventory.take(places) if owners(places).goes(thing, options)]
            if options.all and not left:
                failures += _uninstall(config, places)
    except ConfigError as error:
        raise ConfigError(f"{error}: it takes away orphans when it starts; stop it for the rest") from None
    for thing in left:
        sys.stdout.write(f"left    {thing.kind:14} {thing.name:.200}\n")
    for failure in failures:
        sys.stderr.write(f"crishim: {failure}\n")
    return 1 if left or failures else 0


def owners(places: Locations) -> KnownIds:
    """Read the ids that have a record. Changes nothing."""
    pods = _load(places.state / "pods", PodRecord, record_checks.pod)
    containers = _load(places.state / "containers", ContainerRecord, record_checks.container)
    journal = _load(places.state / "netdev", Attachment, adopt.usable, adopt.is_id)
    unknown = {u.id: u.reason for found in (pods, containers, journal) for u in found.unread.values()}
    known = {*pods.read, *(c.id for c in containers.read.values() if c.pod_id in pods.read.keys() | pods.unread.keys())}
    alive = inventory.alive(inventory.take(places))
    for kind in ("pods", "containers"):
        for path in (places.run / kind).glob(f"*/{record_files.COPY}"):
            id = path.parent.name
            if is_id(id) and id in alive and id not in known | unknown.keys():
                unknown[id] = "is gone"
    return KnownIds(frozenset(known | journal.read.keys()), unknown)


def _load(
    directory: Path,
    kind: type[record_files.R],
    usable: Callable[[record_files.R], object],
    is_id: Callable[[str], bool] = is_id,
) -> Found[record_files.R]:
    if not directory.is_dir():
        return Found({}, {})
    return record_files.load(directory, kind, is_id, usable, tidy=False)


def _report(places: Locations, options: Options) -> list[Item]:
    """Print what is to be removed, and what is unknown and kept; returns the former."""
    known = owners(places)
    going = []
    for thing in inventory.take(places):
        reason = known.unknown.get(thing.owner)
        if known.goes(thing, options):
            going.append(thing)
            sys.stdout.write(f"remove  {thing.kind:14} {thing.name:.200}\n")
        elif reason is not None:
            sys.stdout.write(
                f"keep    {thing.kind:14} {thing.name:.200}  (its record {reason}; --unknown removes it)\n"
            )
    return going


async def _apply(config: Config, places: Locations, options: Options) -> list[str]:
    """Remove the items; returns the errors, one sentence each."""
    things = await executors.kernel(inventory.take, places)
    node = await executors.kernel(open_node, open_base_node(config), record_checks, StreamServer())
    await recover(node)
    failures = await _remove(node, places, options)
    await node.tasks.drain(DRAIN)
    known = await executors.kernel(owners, places)
    # A lease is attributed by other items of its pod, which may be removed by now.
    things = [t for t in things if t.kind == "lease"] + await executors.kernel(inventory.take, places)
    for thing in dict.fromkeys(things):
        if not known.goes(thing, options):
            continue
        try:
            if thing.kind == "lease":
                await node.networks.release(thing.owner, "")
            else:
                await executors.deletion(inventory.remove, thing)
        except (CrishimError, OSError) as error:
            failures.append(f"{thing.kind} {thing.name:.200}: {error}")
    return failures


async def _remove(node: Node, places: Locations, options: Options) -> list[str]:
    """Remove pods and containers as by CRI; returns the errors."""
    failures = []
    pods = [p.id for p in node.pods if options.all or (options.unknown and node.pods.is_adopted(p.id))]
    containers = [
        c.id for c in node.containers if options.all or (options.unknown and node.containers.is_adopted(c.id))
    ]
    for id, remove in [(c, remove_container) for c in containers] + [(p, remove_pod) for p in pods]:
        try:
            await remove(node, id)
        except (CrishimError, OSError) as error:
            failures.append(f"{id[:13]}: {error}")
    if options.unknown or options.all:
        held = {a.id for a in node.netdevices.attachments()}
        for path in inventory.unread_attachments(places, held):
            await executors.records(record_files.remove, path)
    return failures


def _uninstall(config: Config, places: Locations) -> list[str]:
    """Delete the directories, the socket and the cgroup of pods; returns the errors."""
    failures = [f"{m} is mounted: unmount it first" for path in (places.run, places.state) for m in _inside(path)]
    for path in (places.run, places.state) if not failures else ():
        shutil.rmtree(path, onerror=lambda _, name, info: failures.append(f"{name}: {info[1]}"))
    Path(config.socket).unlink(missing_ok=True)
    cgroups.remove(places.cgroup_parent)
    if config.images.root and not Path(config.images.root).is_relative_to(places.state):
        sys.stdout.write(f"keep    images         {config.images.root}  (images.root is not below state_dir)\n")
    return failures


def _inside(directory: Path) -> list[str]:
    return [target for target in mounts.below(directory) if target != str(directory)]


def _is_locked(directory: Path) -> bool:
    try:
        with (directory / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
