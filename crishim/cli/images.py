"""`crishim images`: import and list images, and list running pulls."""

import asyncio
import sys
import time
from pathlib import Path

from crishim.cli.client import connect, daemon_answers, fail, print_json, print_rows, size
from crishim.config import Config, ConfigError
from crishim.errors import CrishimError
from crishim.pb import admin_pb2 as admin

Images = list[tuple[str, list[str]]]  # ids and names


def import_images(config: Config, file: Path, name: str | None, *, offline: bool) -> int:
    """Import the images of an archive; prints ids and names, and the store on stderr.

    The daemon imports them. offline: this process does, into the settings' store, while no daemon runs.
    """
    request = admin.ImportImagesRequest(path=str(file.absolute()), name=name or "")
    try:
        if offline:
            if daemon_answers(config):
                return fail(f"a daemon answers at {config.socket}: leave out --offline")
            found, where = asyncio.run(_import_alone(config, request.path, request.name)), _store(config)
        else:
            found, where = _import_by_daemon(config, request), f"the store of the daemon at {config.socket}"
    except CrishimError as error:
        hint = "; --offline loads them without one" if not offline and not daemon_answers(config) else ""
        return fail(error.message + hint)
    for id, tags in found:
        sys.stdout.write(f"{id}  {' '.join(tags) or '<no name>'}\n")
    sys.stderr.write(f"crishim: imported into {where}\n")
    return 0


def _import_by_daemon(config: Config, request: admin.ImportImagesRequest) -> Images:
    with connect(config) as call:
        answer = call("ImportImages", request, admin.ImportImagesResponse)
    return [(i.id, list(i.repo_tags)) for i in answer.images]


def _store(config: Config) -> str:
    return config.images.root or str(Path(config.state_dir) / "images")


async def _import_alone(config: Config, path: str, name: str) -> Images:
    from crishim.cli.serve import only_daemon
    from crishim.config_paths import check_paths
    from crishim.node import open_images
    from crishim.operations.import_image import import_image
    from crishim.operations.own_directories import make_directories

    check_paths(config)
    make_directories(config)
    try:
        with only_daemon(Path(config.state_dir), Path(config.run_dir)):
            _, transport = open_images(config)
            await transport.recover()
            return [(i.id, list(i.repo_tags)) for i in await import_image(path, name, transport=transport)]
    except ConfigError as error:
        raise ConfigError(f"{error}: leave out --offline, or stop it") from None


def list_images(config: Config, *, as_json: bool) -> int:
    """Print the images in the store, by name; needs no daemon."""
    from crishim.node import open_images

    try:
        found = asyncio.run(open_images(config)[0].snapshot()).images
    except CrishimError as error:
        return fail(error.message)
    names = {image.id: image.repo_tags or image.repo_digests or ("<no name>",) for image in found}
    ordered = sorted(found, key=lambda image: names[image.id])
    if as_json:
        return print_json({"id": i.id, "names": names[i.id], "size": i.size, "pinned": i.pinned} for i in ordered)
    rows = [(name, i.id.removeprefix("sha256:")[:13], size(i.size)) for i in ordered for name in names[i.id]]
    return print_rows([("IMAGE", "ID", "SIZE"), *rows])


def list_pulls(config: Config, *, as_json: bool) -> int:
    """Print the running pulls, the oldest first."""
    try:
        with connect(config) as call:
            pulls = call("ListPulls", admin.ListPullsRequest(), admin.ListPullsResponse).pulls
    except CrishimError as error:
        return fail(error.message)
    if as_json:
        return print_json(
            {"image": p.image, "since": p.since, "fetched": p.fetched, "total": p.total or None} for p in pulls
        )
    now = time.time_ns()
    rows = [
        (p.image, f"{(now - p.since) / 1e9:.0f} s", size(p.fetched), size(p.total) if p.total else "?") for p in pulls
    ]
    return print_rows([("IMAGE", "SINCE", "FETCHED", "OF"), *rows])
