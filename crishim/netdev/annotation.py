"""Devices asked for by annotation: JSON in the shape of the OCI runtime spec's linux.netDevices."""

import json
from collections.abc import Mapping

from crishim.errors import CrishimError, Kind
from crishim.netdev.names import check_name
from crishim.netdev.records import DeviceRequest, Source

POD_KEY = "netdevices.crishim.io/pod"
CONTAINER_KEY = "netdevices.crishim.io/container"
SHAPE = '{"demo0": {"name": "net1"}}'


def parse(key: str, text: str) -> list[DeviceRequest]:
    """Requests of one annotation: {"demo0": {"name": "net1"}, "demo1": {}}.

    Strict, since a typo would start a container without its device. Raises INVALID: not JSON, not that shape, an
    unknown or a repeated key, a name no interface can have.
    """
    try:
        devices = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _wrong(key, f"is not JSON: {error}") from None
    if not isinstance(devices, dict):
        raise _wrong(key, f"is not an object like {SHAPE}")
    found = []
    for device, options in devices.items():
        if not isinstance(options, dict):
            raise _wrong(key, f"has no object for {device!r}: write it like {SHAPE}")
        unknown = options.keys() - {"name"}
        if unknown:
            raise _wrong(key, f"has the unknown key {min(unknown)!r} for {device!r}")
        name = options.get("name", "")
        if not isinstance(name, str):
            raise _wrong(key, f"has a name for {device!r} that is not a string")
        if not device:
            raise _wrong(key, "has an empty device name")
        if not device.isprintable():  # a lone surrogate, for example, cannot be written to a record
            raise _wrong(key, f"has the device name {device!r}")
        if name:
            check_name(name, device)
        found.append(DeviceRequest(device=device, name=name, source=Source.ANNOTATION, origin=key))
    return found


def requests(pod: Mapping[str, str], container: Mapping[str, str]) -> list[DeviceRequest]:
    """Requests of a pod's and a container's annotations, the pod's first. Raises INVALID."""
    found = parse(POD_KEY, pod[POD_KEY]) if POD_KEY in pod else []
    return found + (parse(CONTAINER_KEY, container[CONTAINER_KEY]) if CONTAINER_KEY in container else [])


def _wrong(key: str, problem: str) -> CrishimError:
    return CrishimError(Kind.INVALID, f"annotation {key} {problem}", annotation=key)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is there twice")
    return found
