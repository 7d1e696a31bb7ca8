"""`crishim netdev`: list, attach and detach network devices of pods; the daemon must be running."""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from crishim.cli import link_details
from crishim.cli.client import connect, fail, print_json, print_rows
from crishim.config import Config
from crishim.errors import CrishimError
from crishim.pb import admin_pb2 as admin

Details = Mapping[str, dict[str, object]]


def netdev(config: Config, action: str, arguments: argparse.Namespace) -> int:
    """Run a subcommand of `crishim netdev`; returns the exit status."""
    try:
        with connect(config) as call:
            if action == "list" and arguments.host:
                links = call("ListHostLinks", admin.ListHostLinksRequest(), admin.ListHostLinksResponse).links
                details = link_details.read() if arguments.details else None
                return _print_links(links, details, as_json=arguments.json)
            if action in ("list", "show"):
                listing = admin.ListNetDevicesRequest(pod_sandbox_id=getattr(arguments, "pod", ""))
                devices = call("ListNetDevices", listing, admin.ListNetDevicesResponse).devices
                if action == "show":
                    return _show(devices, arguments.device)
                return print_json(map(_facts, devices)) if arguments.json else _print_table(devices)
            wanted = {"pod_sandbox_id": arguments.pod, "device": arguments.device}
            if action == "attach":
                request = admin.AttachNetDeviceRequest(**wanted, name=arguments.name)
                device = call("AttachNetDevice", request, admin.AttachNetDeviceResponse).device
            else:
                device = call(
                    "DetachNetDevice", admin.DetachNetDeviceRequest(**wanted), admin.DetachNetDeviceResponse
                ).device
    except CrishimError as error:
        return fail(error.message)
    except OSError as error:
        return fail(f"the host's links cannot be read: {error}")
    return _print_table([device])


def _print_table(devices: Sequence[Any]) -> int:
    rows = [("DEVICE", "POD", "SANDBOX", "NAME", "ADDRESSES", "STATE", "SOURCE", "SINCE")]
    for d in devices:
        since = datetime.datetime.fromtimestamp(d.since / 1e9, datetime.UTC).isoformat(timespec="seconds")
        source = ", ".join(d.sources)
        rows.append((d.host_name, d.pod, d.pod_sandbox_id[:13], d.name, ",".join(d.addresses), d.state, source, since))
    return print_rows(rows)


def _print_links(links: Sequence[admin.HostLink], details: Details | None, *, as_json: bool) -> int:
    """Print the host's links: which pods may take them, or why none. details: of link_details.read(), by name."""
    if as_json:
        return print_json(_link_facts(x) | ({} if details is None else {"details": details.get(x.name)}) for x in links)
    rows: list[tuple[str, ...]] = [("LINK", "KIND", "STATE", "TO", "WHY")]
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
    if details is not None:
        shown = ["DETAILS", *(link_details.text(details.get(x.name, {})) for x in links)]
        rows = [(*row, more) for row, more in zip(rows, shown, strict=True)]
    return print_rows(rows)


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


def _show(devices: Sequence[Any], name: str) -> int:
    found = [d for d in devices if name in (d.host_name, d.name)]
    if not found:
        return fail(f"no pod has a network device called {name!r}")
    return print_json(map(_facts, found))
