"""Image references: names of the distribution specification, normalised like docker, podman and the kubelet.

    reference  = [domain "/"] path [":" tag] ["@" digest]
    busybox          docker.io/library/busybox:latest
    quay.io/a/b@sha256:...

The first component is a domain if it has a dot or a colon, is "localhost", or has an upper-case letter (a path never
has one). Without a domain it is docker.io, where a single component is below library/. Grammar: OCI distribution-spec
1.1, section "Pulling manifests", and the reference package of the distribution project.
"""

import re

import msgspec

from crishim.errors import CrishimError, Kind

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 255  # characters of domain and path together

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class Reference(msgspec.Struct, frozen=True):
    """A normalised reference. It has a tag or a digest; with both, the digest is used."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Domain and path: "docker.io/library/busybox"."""
        return f"{self.domain}/{self.path}"

    @property
    def name(self) -> str:
        """The reference for the store and the registry: by digest if it has one, else by tag."""
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

    def __str__(self) -> str:
        text = self.repository
        if self.tag:
            text += ":" + self.tag
        if self.digest:
            text += "@" + self.digest
        return text


def parse(text: str) -> Reference:
    """Parse and normalise a reference. Raises INVALID with the reason.

    64 hexadecimal digits alone are invalid: they are an image id.
    """
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(text, f"{digest!r} is no sha256 or sha512 digest")
    slash = name.rfind("/")
    colon = name.rfind(":")
    tag = ""
    if colon > slash and not name.endswith("]"):
        name, tag = name[:colon], name[colon + 1 :]
        if not _TAG.fullmatch(tag):
            raise _invalid(text, f"{tag!r} is no tag")
    domain, path = _split(name)
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f"{domain!r} is no registry name")
    if not _PATH.fullmatch(path):
        raise _invalid(text, f"{path!r} is no repository name (lower-case letters, digits, separators)")
    if _HEX64.fullmatch(name):
        raise _invalid(text, "64 hexadecimal digits are an image id")
    if len(domain) + 1 + len(path) > MAX_NAME:
        raise _invalid(text, f"the name is longer than {MAX_NAME} characters")
    return Reference(domain, path, tag or ("" if digest else DEFAULT_TAG), digest)


def _split(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    has_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, path = (first, rest) if has_domain else (DEFAULT_DOMAIN, name)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = "library/" + path
    return domain, path


def _invalid(text: str, why: str) -> CrishimError:
    return CrishimError(Kind.INVALID, f"image reference {text[:300]!r} is invalid: {why}", image=text[:300])
