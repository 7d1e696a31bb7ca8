"""Which registries may be asked directly whether an image has changed: those for which the host's configuration of
containers/image has nothing that only containers/image implements.

    registries.conf   containers-registries.conf(5): no mirror, no other location, not blocked, no credential helpers
    policy.json       containers-policy.json(5): everything is accepted, so that no signature has to be verified
    certs.d           containers-certs.d(5): no certificates of the registry's own
    auth.json         containers-auth.json(5): none, or the call has credentials, which have precedence
    environment       no proxy, no other place for any of these

In every other case, and if a file cannot be read, the result is None: skopeo is run, and decides. All files are
considered where containers/image uses the first that exists: that can only make skopeo run more often.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from crishim.images.credentials import Credentials
from crishim.images.reference import DEFAULT_DOMAIN, Reference

DOCKER_HUB = "registry-1.docker.io"  # the registry of docker.io
MAX_FILE = 1 << 20  # bytes of a configuration file; real ones are far smaller
ACCEPTED = {"type": "insecureAcceptAnything"}
_PLAIN_KEYS = {"prefix", "location", "insecure", "blocked", "mirror"}
# Environment variables that containers/image or Go's HTTP client uses.
_STEERING = {"REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF", "DOCKER_CONFIG", "HTTP_PROXY", "HTTPS_PROXY"}


class Endpoint(msgspec.Struct, frozen=True):
    """A registry's address. insecure: its certificate is not verified, and HTTP is tried after HTTPS."""

    host: str  # a name or an address, without brackets
    port: int | None  # None: the scheme's own
    insecure: bool


class Sources(msgspec.Struct, frozen=True):
    """The files and directories where containers/image looks for its configuration."""

    registries: tuple[Path, ...]  # files
    drop_ins: tuple[Path, ...]  # directories of more of them
    policies: tuple[Path, ...]
    certificates: tuple[Path, ...]  # directories with one for each registry
    auth: tuple[Path, ...]
    environ: Mapping[str, str]


def host_sources(registries_conf: Path | None, policy: Path | None, node_auth: Path | None) -> Sources:
    """The host's own files, with those given instead of some."""
    environ = dict(os.environ)
    home = Path(environ.get("HOME") or "/root")
    user, system = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers", Path("/etc/containers")
    mine = home / ".config/containers"  # some lookups ignore XDG_CONFIG_HOME
    runtime = (f"{environ.get('XDG_RUNTIME_DIR') or '/run'}/containers", f"/run/containers/{os.getuid()}")
    auth = (*(Path(directory) / "auth.json" for directory in runtime), user / "auth.json", mine / "auth.json")
    return Sources(
        registries=(registries_conf,) if registries_conf else (*(d / "registries.conf" for d in (user, mine, system)),),
        drop_ins=tuple(d / "registries.conf.d" for d in dict.fromkeys((user, mine, system))),
        policies=(policy,) if policy else tuple(d / "policy.json" for d in dict.fromkeys((user, mine, system))),
        certificates=(user / "certs.d", mine / "certs.d", system / "certs.d", Path("/etc/docker/certs.d")),
        auth=(node_auth,) if node_auth else (*auth, home / ".docker/config.json", home / ".dockercfg"),
        environ=environ,
    )


def endpoint(image: Reference, credentials: Credentials, sources: Sources) -> Endpoint | None:
    """The registry's address for an image; None if only skopeo may ask it. Blocks: reads a few small files."""
    if credentials.identity_token or any(_is_steering(name) for name, value in sources.environ.items() if value):
        return None
    if not credentials and any(path.exists() for path in sources.auth):
        return None
    hosts = (image.domain, DOCKER_HUB) if image.domain == DEFAULT_DOMAIN else (image.domain,)
    if any((directory / host).exists() for directory in sources.certificates for host in hosts):
        return None
    try:
        if not _accepts_anything(sources.policies):
            return None
        entries = [entry for conf in _registries(sources) for entry in _matching(conf, image)]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    insecure = {bool(entry.get("insecure", False)) for entry in entries} or {False}
    if len(insecure) > 1 or not all(_is_plain(entry) for entry in entries):
        return None
    return _address(image.domain, insecure.pop())


def _is_steering(name: str) -> bool:
    return name.upper() in _STEERING


def _accepts_anything(policies: tuple[Path, ...]) -> bool:
    """Whether there is a policy, and none requires anything of an image from a registry."""
    found = [json.loads(_read(path)) for path in policies if path.exists()]
    needed = [policy["default"] for policy in found]
    needed += [scope for policy in found for scope in policy.get("transports", {}).get("docker", {}).values()]
    return bool(found) and all(scope and all(rule == ACCEPTED for rule in scope) for scope in needed)


def _registries(sources: Sources) -> list[dict[str, Any]]:
    """registries.conf and its drop-ins. Raises ValueError if one has settings not implemented here."""
    files = [path for path in sources.registries if path.exists()]
    files += [path for directory in sources.drop_ins for path in sorted(directory.glob("*.conf"))]
    found = [tomllib.loads(_read(path).decode()) for path in dict.fromkeys(files)]
    for conf in found:
        if "registries" in conf:
            raise ValueError("the format before version 2")
        if conf.get("credential-helpers", ["containers-auth.json"]) != ["containers-auth.json"]:
            raise ValueError("credentials come from elsewhere")
    return found


def _matching(conf: dict[str, Any], image: Reference) -> list[dict[str, Any]]:
    """All [[registry]] tables that match an image."""
    return [entry for entry in conf.get("registry", []) if _matches(_prefix(entry), image)]


def _prefix(entry: dict[str, Any]) -> str:
    return str(entry.get("prefix") or entry["location"])


def _matches(prefix: str, image: Reference) -> bool:
    if prefix.startswith("*."):  # any host in that domain
        host = image.domain.partition(":")[0]
        return host.endswith(prefix[1:].partition("/")[0].partition(":")[0])
    rest = image.name.removeprefix(prefix)
    return rest != image.name and (not rest or rest[0] in "/:@")


def _is_plain(entry: dict[str, Any]) -> bool:
    """Whether a table sets nothing but `insecure`."""
    return (
        entry.keys() <= _PLAIN_KEYS
        and not _prefix(entry).startswith("*.")  # _matches() is less strict for those
        and not entry.get("blocked")
        and not entry.get("mirror")
        and entry.get("location", _prefix(entry)) == _prefix(entry)
        and isinstance(entry.get("insecure", False), bool)
    )


def _address(domain: str, insecure: bool) -> Endpoint:
    """The address of a valid reference's domain: HOST, HOST:PORT or [ADDRESS]:PORT."""
    name = DOCKER_HUB if domain == DEFAULT_DOMAIN else domain
    host, colon, port = name.rpartition(":")
    if not colon or name.endswith("]"):
        host, port = name, ""
    return Endpoint(host.strip("[]"), int(port) if port else None, insecure)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(MAX_FILE + 1)
    if len(text) > MAX_FILE:
        raise ValueError(f"{path} is too large")
    return text
