"""The short commands: load images, look at and move network devices."""

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from crishim.config import Config
from crishim.errors import CrishimError, Kind
from crishim.pb import admin_pb2 as admin

CALL_TIMEOUT = 600.0  # seconds the daemon may take


def import_images(config: Config, file: Path, name: str | None) -> int:
    """Load the images of an archive, through the daemon if one runs, else by ourselves. Prints ids and names."""
    request = admin.ImportImagesRequest(path=str(file.absolute()), name=name or "")
    try:
        if _daemon_answers(config):
            with _daemon(config) as call:
                answer = call("ImportImages", request, admin.ImportImagesResponse)
            found = [(i.id, list(i.repo_tags)) for i in answer.images]
        else:
            found = asyncio.run(_import_alone(config, request.path, request.name))
    except CrishimError as error:
        return _fail(error.message)
    for id, tags in found:
        sys.stdout.write(f"{id}  {' '.join(tags) or '<no name>'}\n")
    return 0


async def _import_alone(config: Config, path: str, name: str) -> list[tuple[str, list[str]]]:
    from crishim.config import check_paths
    from crishim.ground import make_directories
    from crishim.node import image_parts
    from crishim.operations.import_image import import_image
    from crishim.serve import only_daemon

    check_paths(config)
    make_directories(config)
    with only_daemon(Path(config.state_dir), Path(config.run_dir)):
        _, transport = image_parts(config)
        await transport.recover()
        return [(i.id, list(i.repo_tags)) for i in await import_image(path, name, transport=transport)]


def netdev(config: Config, action: str, arguments: argparse.Namespace) -> int:
    """Ask the running daemon about network devices, or let it move one."""
    try:
        with _daemon(config) as call:
            if action == "list" and arguments.host:
                links = call("ListHostLinks", admin.ListHostLinksRequest(), admin.ListHostLinksResponse).links
                return _print_links(links, as_json=arguments.json)
            if action in ("list", "show"):
                listing = admin.ListNetDevicesRequest(pod_sandbox_id=getattr(arguments, "pod", ""))
                devices = call("ListNetDevices", listing, admin.ListNetDevicesResponse).devices
                if action == "show":
                    return _show(devices, arguments.device)
                return _print_json(map(_facts, devices)) if arguments.json else _print_table(devices)
            wanted = {"pod_sandbox_id": arguments.pod, "device": arguments.device}
            if action == "attach":
                wish = admin.AttachNetDeviceRequest(**wanted, name=arguments.name)
                device = call("AttachNetDevice", wish, admin.AttachNetDeviceResponse).device
            else:
                device = call(
                    "DetachNetDevice", admin.DetachNetDeviceRequest(**wanted), admin.DetachNetDeviceResponse
                ).device
    except CrishimError as error:
        return _fail(error.message)
    return _print_table([device])


def _daemon_answers(config: Config) -> bool:
    """Whether somebody listens on the socket: the file alone may be left over."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(config.socket) == 0


@contextlib.contextmanager
def _daemon(config: Config) -> Iterator[Callable[[str, Any, Any], Any]]:
    """A function that calls the daemon's own service; its errors come as CrishimError."""
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc

    with grpc.insecure_channel(f"unix:{config.socket}") as channel:

        def call(name: str, request: Any, answer: Any) -> Any:
            method = channel.unary_unary(
                f"/crishim.v1.Admin/{name}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )
            try:
                return method(request, timeout=CALL_TIMEOUT)
            except grpc.RpcError as error:
                raise CrishimError(Kind.INTERNAL, str(error.details())) from error

        yield call


def _print_table(devices: Sequence[Any]) -> int:
    rows = [("DEVICE", "POD", "SANDBOX", "NAME", "ADDRESSES", "STATE", "SOURCE", "SINCE")]
    for d in devices:
        since = datetime.datetime.fromtimestamp(d.since / 1e9, datetime.UTC).isoformat(timespec="seconds")
        source = ", ".join(d.sources)
        rows.append((d.host_name, d.pod, d.pod_sandbox_id[:13], d.name, ",".join(d.addresses), d.state, source, since))
    return _print_rows(rows)


def _print_rows(rows: Sequence[tuple[str, ...]]) -> int:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0


def _print_links(links: Sequence[admin.HostLink], *, as_json: bool) -> int:
    """The host's links: whether a pod can have them, and which, or why none."""
    if as_json:
        return _print_json(map(_link_facts, links))
    rows = [("LINK", "KIND", "STATE", "TO", "WHY")]
    for link in links:
        state = admin.HostLink.State.Name(link.state).lower()
        to, why = "nobody", link.reason
        if link.state == admin.HostLink.GIVEN:
            to, why = f"pod {link.device.pod}", f"as {link.device.name}, {link.device.state}"
        elif link.grants:
            to = f"pods of {', '.join(dict.fromkeys(n for grant in link.grants for n in grant.namespaces))}"
            why = ", ".join(grant.rule for grant in link.grants)
        elif link.state == admin.HostLink.FREE:
            to, why = "CDI, netdev attach", f"by annotation to nobody: {link.reason or 'no rule of netdevices.allow'}"
        rows.append((link.name, link.kind, state, to, why))
    return _print_rows(rows)


def _link_facts(link: admin.HostLink) -> dict[str, object]:
    grants = [{"rule": grant.rule, "namespaces": list(grant.namespaces)} for grant in link.grants]
    return {
        "name": link.name,
        "altnames": list(link.altnames),
        "kind": link.kind,
        "state": admin.HostLink.State.Name(link.state).lower(),
        "grants": grants,
        "reason": link.reason,
        "device": _facts(link.device) if link.HasField("device") else None,
    }


def _facts(device: admin.NetDevice) -> object:
    return json.loads(device.details)


def _print_json(found: Iterable[object]) -> int:
    sys.stdout.write(json.dumps(list(found), indent=2) + "\n")
    return 0


def _show(devices: Sequence[Any], name: str) -> int:
    found = [d for d in devices if name in (d.host_name, d.name)]
    if not found:
        return _fail(f"no pod has a network device called {name!r}")
    return _print_json(map(_facts, found))


def _fail(text: str) -> int:
    sys.stderr.write(f"crishim: {' '.join(text.split())}\n")
    return 1
