"""Checks of CRI mounts that do not need the host: a list of rules, each for one request."""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from crishim.errors import CrishimError, Kind
from crishim.pb import cri_pb2 as cri

OPTIONS: Final = ("noexec", "nodev", "nosuid")  # what Mount.mount_options may hold
PROPAGATION: Final[Mapping[int, str]] = {
    cri.PROPAGATION_PRIVATE: "rprivate",
    cri.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    cri.PROPAGATION_BIDIRECTIONAL: "rshared",
}


class _Abilities(msgspec.Struct, frozen=True):
    """What the runtime's `features` offer; nothing for a runtime without features."""

    idmap: bool
    recursive_read_only: bool

    @classmethod
    def of(cls, features: Mapping[str, Any] | None) -> "_Abilities":
        offered = features or {}
        extensions = (offered.get("linux") or {}).get("mountExtensions") or {}
        return cls(
            idmap=bool((extensions.get("idmap") or {}).get("enabled")),
            recursive_read_only="rro" in (offered.get("mountOptions") or ()),
        )


def check(requests: Sequence[cri.Mount], features: Mapping[str, Any] | None) -> None:
    """INVALID for the first problem, PRECONDITION for what the OCI runtime does not offer."""
    problem = first_problem(requests)
    if problem:
        raise CrishimError(Kind.INVALID, problem)
    abilities = _Abilities.of(features)
    for request in requests:
        _check_abilities(request, abilities)


def first_problem(requests: Sequence[cri.Mount]) -> str | None:
    """What is wrong with a container's mounts on their own, or None."""
    seen: set[str] = set()
    for request in requests:
        for rule in _RULES:
            problem = rule(request)
            if problem:
                return f"mount {_name(request)}: {problem}"
        where = posixpath.normpath(request.container_path)
        if where in seen:
            return f"two mounts have the container path {where}"
        seen.add(where)
    return None


def is_image(request: cri.Mount) -> bool:
    return request.HasField("image") and bool(request.image.image)


# Rules: what is wrong with a request on its own, or None.


def _path_is_absolute(m: cri.Mount) -> str | None:
    return None if m.container_path.startswith("/") else "the container path must be absolute"


def _path_is_not_root(m: cri.Mount) -> str | None:
    return "nothing can be mounted over /" if posixpath.normpath(m.container_path).strip("/") == "" else None


def _path_has_no_nul(m: cri.Mount) -> str | None:
    return "a path cannot hold a NUL" if "\0" in m.container_path + m.host_path else None


def _source_is_given(m: cri.Mount) -> str | None:
    return None if is_image(m) or m.host_path else "neither a host path nor an image is given"


def _host_path_is_absolute(m: cri.Mount) -> str | None:
    return "the host path must be absolute" if m.host_path and not m.host_path.startswith("/") else None


def _image_has_no_host_path(m: cri.Mount) -> str | None:
    return "an image volume has no host path" if is_image(m) and m.host_path else None


def _image_is_read_only(m: cri.Mount) -> str | None:
    return "an image volume is read-only; readonly=false is not possible" if is_image(m) and not m.readonly else None


def _sub_path_has_image(m: cri.Mount) -> str | None:
    return "image_sub_path is for image volumes" if m.image_sub_path and not is_image(m) else None


def _sub_path_stays_inside(m: cri.Mount) -> str | None:
    bad = m.image_sub_path.startswith("/") or ".." in m.image_sub_path.split("/")
    return "image_sub_path must be relative and must not contain '..'" if bad else None


def _propagation_is_known(m: cri.Mount) -> str | None:
    return None if m.propagation in PROPAGATION else f"unknown propagation {m.propagation}"


def _rro_is_read_only(m: cri.Mount) -> str | None:
    return "recursive_read_only needs readonly" if m.recursive_read_only and not m.readonly else None


def _rro_is_private(m: cri.Mount) -> str | None:
    wrong = m.recursive_read_only and m.propagation != cri.PROPAGATION_PRIVATE
    return "recursive_read_only needs the propagation PRIVATE" if wrong else None


def _options_are_known(m: cri.Mount) -> str | None:
    unknown = [o for o in m.mount_options if o not in OPTIONS]
    return f"the mount option {unknown[0]!r} is none of {', '.join(OPTIONS)}" if unknown else None


def _mappings_come_in_pairs(m: cri.Mount) -> str | None:
    return "uidMappings and gidMappings belong together" if bool(m.uidMappings) != bool(m.gidMappings) else None


_RULES: tuple[Callable[[cri.Mount], str | None], ...] = (
    _path_is_absolute,
    _path_is_not_root,
    _path_has_no_nul,
    _source_is_given,
    _host_path_is_absolute,
    _image_has_no_host_path,
    _image_is_read_only,
    _sub_path_has_image,
    _sub_path_stays_inside,
    _propagation_is_known,
    _rro_is_read_only,
    _rro_is_private,
    _options_are_known,
    _mappings_come_in_pairs,
)


def _check_abilities(request: cri.Mount, abilities: _Abilities) -> None:
    missing = ""
    if request.recursive_read_only and not abilities.recursive_read_only:
        missing = "recursive read-only mounts"
    elif request.uidMappings and not abilities.idmap:
        missing = "idmapped mounts"
    if missing:
        raise CrishimError(
            Kind.PRECONDITION,
            f"mount {_name(request)}: the OCI runtime does not offer {missing}",
            path=request.container_path,
        )


def _name(request: cri.Mount) -> str:
    return repr(request.container_path) if request.container_path else repr(request.host_path)
