"""Interface names: which are valid, and the expansion of templates ("net%d").

The kernel would expand a template itself (twice, if the old name exists in the target namespace); OCI runtimes then
look for the literal text and leave the device there. So neither is given a template.
"""

import os
from collections.abc import Callable, Collection

from crishim.errors import CrishimError, Kind
from crishim.linux.netlink.links import NAME_LIMIT

TEMPLATE = "%d"
RESERVED = {"eth0": "the pod network's own interface", "lo": "the loopback interface"}


def check_name(name: str, device: str) -> None:
    """Raise INVALID unless name is valid for an interface, or a template with one %d. device: for the error text.

    Rules: dev_valid_name() of the kernel (1 to 15 bytes, no '/', ':' or white space, not '.' or '..').
    """
    problem = ""
    try:
        length = len(os.fsencode(name.replace(TEMPLATE, "0", 1)))
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold
        raise CrishimError(Kind.INVALID, f"the name {name!r} for device {device} is no text", device=device) from None
    if not name:
        problem = "is empty"
    elif length > NAME_LIMIT:
        problem = f"has {length} bytes; an interface's name has at most {NAME_LIMIT}"
    elif name in (".", "..") or any(c in "/:" or c.isspace() or ord(c) < 32 or ord(c) == 127 for c in name):
        problem = "is no interface name: no '/', ':', white space or control characters"
    elif "%" in name.replace(TEMPLATE, "", 1):
        problem = "has a '%' that is not one %d"
    elif name in RESERVED:
        raise CrishimError(Kind.PRECONDITION, f"device {device} cannot be {name}: {RESERVED[name]}", device=device)
    if problem:
        raise CrishimError(Kind.INVALID, f"the name {name!r} for device {device} {problem}", device=device, name=name)


def expand(name: str, taken: Collection[str], device: str) -> str:
    """The name a template stands for: the lowest free number. Raises INVALID if that is too long."""
    if TEMPLATE not in name:
        return name
    number = 0
    while (candidate := name.replace(TEMPLATE, str(number))) in taken or candidate in RESERVED:
        number += 1
    check_name(candidate, device)
    return candidate


def fallback(name: str, id: str, is_taken: Callable[[str], bool]) -> str:
    """A name for a returned device whose own is taken; the same each time for an attachment, if free. EXHAUSTED."""
    stem = name.encode(errors="surrogateescape")[: NAME_LIMIT - 5].decode(errors="ignore")
    for start in range(len(id) - 3):
        candidate = f"{stem}-{id[start : start + 4]}"
        if not is_taken(candidate):
            return candidate
    raise CrishimError(Kind.EXHAUSTED, f"no name is free on the host for the device that was {name}", device=name)


def relabel(label: str, new: str) -> str:
    """An IPv4 label after its interface was renamed: a suffix (":1") is kept if it fits in 15 bytes."""
    suffix = label[label.index(":") :] if ":" in label else ""
    renamed = new + suffix
    return renamed if len(renamed.encode(errors="surrogateescape")) <= NAME_LIMIT else new
