"""Makes a daemon die at a point of the tester's choosing, without a line of test code in the product.

Python imports this module at start when its directory is on PYTHONPATH (site, "sitecustomize"). In a `crishim serve`
process it wraps the functions named below; each call looks at the file $CRISHIM_FAULT, and if the file names that
function and the count of calls is reached, the process kills itself with SIGKILL, before or after the call:

    Sandboxes.make after 1        the first call from now on has returned
    exec bridge after 1           a program with this word in its command line was just started, and runs on

The file is there or not: an unarmed daemon behaves as always, and can be armed while it runs.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS = """
crishim.state.store Store.add Store.update Store.remove Store._write
crishim.cni.network PodNetworks.plan PodNetworks.add PodNetworks.delete
crishim.cni.chain PluginChain._execute
crishim.engine.sandbox Sandboxes.make Sandboxes._write_files Sandboxes.set_addresses Sandboxes.remove
crishim.engine.init Inits._write_bundle Inits.start Inits.stop
crishim.engine.runtime Runtime.start Runtime.delete
crishim.engine.conmon create _references
crishim.linux.namespaces make
crishim.images.rootfs RootFilesystems.mount RootFilesystems.remove
crishim.images.skopeo Skopeo.copy
crishim.images.garbage_collection remove_image _write _remove_files
crishim.netdev.driver NetDevices.return_devices NetDevices.forget
crishim.netdev.journal Journal.open Journal.advance
crishim.netdev.transaction mark move
crishim.netdev.verify verify
crishim.netdev.plan Plan.begin Plan.verify_and_repair
crishim.operations.network_devices wanted_devices plan_devices
crishim.operations.exits record_exit release_container
crishim.operations.filesystems Filesystems.prepare Filesystems.delete
crishim.operations.launch Launcher.write_bundle Launcher.create Launcher.end Launcher.delete_bundle
crishim.operations.stop_pod tear_down forget_pod remove_cgroup
"""
FILE = Path(os.environ.get("CRISHIM_FAULT", "/nonexistent"))

_armed = ""
_calls: Counter[str] = Counter()


def reached(name: str, moment: str) -> None:
    """Count a call, and end the process if the file says so."""
    global _armed
    try:
        wanted = FILE.read_text()
    except FileNotFoundError:
        return
    if wanted != _armed:
        _armed = wanted
        _calls.clear()
    function, when, count = wanted.rsplit(" ", 2)
    if function == name and when == moment:
        _calls[wanted] += 1
        if _calls[wanted] == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()


def wrap(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def around(*args: Any, **kwargs: Any) -> Any:
            reached(name, "before")
            result = await function(*args, **kwargs)
            reached(name, "after")
            return result
    else:

        @functools.wraps(function)
        def around(*args: Any, **kwargs: Any) -> Any:
            reached(name, "before")
            result = function(*args, **kwargs)
            reached(name, "after")
            return result

    return around


def install() -> None:
    for line in TARGETS.split("\n"):
        module_name, *names = line.split() or [""]
        for name in names:
            module = importlib.import_module(module_name)
            *owner, attribute = name.split(".")
            holder = getattr(module, owner[0]) if owner else module
            title = name if owner else f"{module_name.rpartition('.')[2]}.{name}"
            setattr(holder, attribute, wrap(getattr(holder, attribute), title))
    start = asyncio.create_subprocess_exec

    async def started(*argv: str, **options: Any) -> Any:
        process = await start(*argv, **options)
        for word in {w for a in argv for w in (a, a.rpartition("/")[2])}:
            reached(f"exec {word}", "after")
        return process

    asyncio.create_subprocess_exec = started  # type: ignore[assignment]


if "serve" in sys.orig_argv:
    install()
    if os.environ.get("CRISHIM_LOOP_GUARD"):
        importlib.import_module("loop_guard").install(os.environ["CRISHIM_LOOP_GUARD"])
