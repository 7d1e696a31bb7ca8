"""Map skopeo's error messages to kinds of errors. Pure.

skopeo ends every failure with status 1 and one logrus line: time="..." level=fatal msg="...". The texts are those of
containers/image 5.22 to 5.38 and of the registries' own error codes (distribution-spec 1.1, "Error Codes"). The kubelet
shows special reasons for errors that start with RegistryUnavailable and SignatureValidationFailed, if their code is
UNKNOWN (k8s.io/cri-api, pkg/errors).
"""

import json
import re

from crishim.errors import CrishimError, Kind

REGISTRY_UNAVAILABLE = "RegistryUnavailable"
SIGNATURE_INVALID = "SignatureValidationFailed"

_MESSAGE = re.compile(r'level=fatal msg=("(?:[^"\\]|\\.)*")')
# The kind is that of the origin's error, which is tried last; the mirrors' errors stay in the text only.
_MIRRORS = re.compile(r"\(Mirrors also failed: \[.*\]\)")

# The order matters: a registry that requires credentials also fails its ping, and a full disk ends a transfer.
_MEANINGS: tuple[tuple[Kind, str, re.Pattern[str]], ...] = tuple(
    (kind, prefix, re.compile(pattern, re.IGNORECASE))
    for kind, prefix, pattern in (
        (Kind.EXHAUSTED, "", r"no space left on device|disk quota exceeded"),
        (Kind.UNKNOWN, SIGNATURE_INVALID, r"^source image rejected"),
        (Kind.PRECONDITION, "", r"loading trust policy|loading registries configuration|parsing registries\.conf"),
        (Kind.UNAVAILABLE, "", r"toomanyrequests|too many requests|\b429\b"),
        (
            Kind.DENIED,
            "",
            r"unauthorized|authentication required|invalid username/password|access to the resource is denied"
            r"|\bdenied:|\b40[13] \(|\b403 forbidden|status code 403|registry \S+ is blocked|is blocked in ",
        ),
        (
            Kind.NOT_FOUND,
            "",
            r"manifest unknown|name unknown|blob unknown|repository name not known|\b404\b|no image found in"
            r"|no such manifest",
        ),
        (
            Kind.UNKNOWN,
            REGISTRY_UNAVAILABLE,
            r"connection refused|no such host|server misbehaving|network is unreachable|no route to host"
            r"|i/o timeout|handshake timeout|timeout awaiting|connection reset|connection timed out|unexpected eof"
            r"|\bEOF$|status:? (?:code )?5\d\d|\b50[0234] |proxyconnect|temporary failure in name resolution"
            r"|pinging container registry",
        ),
    )
)


def message_of(stderr: str) -> str:
    """skopeo's message from its stderr; without a logrus line (a crash) all of stderr, on one line."""
    found = _MESSAGE.findall(stderr)
    if not found:
        return " ".join(stderr.split())[-1000:] or "it said nothing"
    try:
        return str(json.loads(found[-1]))
    except ValueError:  # Go quotes with \x.. where JSON does not
        return str(found[-1][1:-1])


def failure(what: str, stderr: str, **facts: object) -> CrishimError:
    """The error for a failed skopeo; INTERNAL if its message is not known. what: "image X cannot be pulled"."""
    message = message_of(stderr)
    origin = _MIRRORS.sub("", message)
    for kind, prefix, pattern in _MEANINGS:
        if pattern.search(origin):
            text = f"{prefix}: {what}: {message}" if prefix else f"{what}: {message}"
            return CrishimError(kind, text, **facts)
    return CrishimError(Kind.INTERNAL, f"{what}: {message}", **facts)


def is_missing_layer(error: CrishimError) -> bool:
    """Whether a copy failed because a layer it was to share was removed: the next try fetches that."""
    return bool(re.search(r"layer not known|layer is not known|parent layer", error.message, re.IGNORECASE))
