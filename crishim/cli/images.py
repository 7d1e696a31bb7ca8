"""`crishim images`: the image store, through the daemon if one runs."""

import asyncio
import sys
from pathlib import Path

from crishim.cli.client import connect, daemon_answers, fail
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import admin_pb2 as admin


def import_images(config: Config, file: Path, name: str | None) -> int:
    """Load the images of an archive, through the daemon if one runs, else by ourselves. Prints ids and names."""
    request = admin.ImportImagesRequest(path=str(file.absolute()), name=name or "")
    try:
        if daemon_answers(config):
            with connect(config) as call:
                answer = call("ImportImages", request, admin.ImportImagesResponse)
            found = [(i.id, list(i.repo_tags)) for i in answer.images]
        else:
            found = asyncio.run(_import_alone(config, request.path, request.name))
    except CrishimError as error:
        return fail(error.message)
    for id, tags in found:
        sys.stdout.write(f"{id}  {' '.join(tags) or '<no name>'}\n")
    return 0


async def _import_alone(config: Config, path: str, name: str) -> list[tuple[str, list[str]]]:
    from crishim.cli.serve import only_daemon
    from crishim.config_paths import check_paths
    from crishim.node import image_parts
    from crishim.operations.import_image import import_image
    from crishim.operations.own_directories import make_directories

    check_paths(config)
    make_directories(config)
    with only_daemon(Path(config.state_dir), Path(config.run_dir)):
        _, transport = image_parts(config)
        await transport.recover()
        return [(i.id, list(i.repo_tags)) for i in await import_image(path, name, transport=transport)]
