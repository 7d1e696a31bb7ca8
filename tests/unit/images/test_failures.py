"""What skopeo's complaints mean; the texts are what 1.9.3 and newer print."""

import pytest

from crishim.errors import CrishimError, Kind
from crishim.images.failures import failure, is_missing_layer, message_of

PING = "initializing source docker://r.io/a:1: pinging container registry r.io: "
READ = "initializing source docker://r.io/a:1: reading manifest 1 in r.io/a: "


@pytest.mark.parametrize(
    ("text", "kind", "prefix"),
    [
        (READ + "manifest unknown: manifest unknown", Kind.NOT_FOUND, ""),
        (READ + "manifest unknown", Kind.NOT_FOUND, ""),
        (READ + "name unknown: repository not found", Kind.NOT_FOUND, ""),
        (READ + "StatusCode: 404, ...", Kind.NOT_FOUND, ""),
        (READ + "unauthorized: authentication required", Kind.DENIED, ""),
        (READ + "denied: requested access to the resource is denied", Kind.DENIED, ""),
        ("unable to retrieve auth token: invalid username/password: unauthorized: no", Kind.DENIED, ""),
        (READ + "errors:\ndenied: x\nunauthorized: y", Kind.DENIED, ""),
        (READ + "toomanyrequests: You have reached your pull rate limit.", Kind.UNAVAILABLE, ""),
        (PING + 'Get "https://r.io/v2/": dial tcp 1.2.3.4:443: connect: connection refused', Kind.UNKNOWN, "Reg"),
        (PING + 'Get "https://r.io/v2/": dial tcp: lookup r.io on 1.1.1.1:53: no such host', Kind.UNKNOWN, "Reg"),
        (PING + 'Get "https://r.io/v2/": http: server gave HTTP response to HTTPS client', Kind.UNKNOWN, "Reg"),
        (PING + 'Get "https://r.io/v2/": dial tcp 1.2.3.4:443: i/o timeout', Kind.UNKNOWN, "Reg"),
        (PING + 'Get "https://r.io/v2/": net/http: TLS handshake timeout', Kind.UNKNOWN, "Reg"),
        (READ + "received unexpected HTTP status: 503 Service Unavailable", Kind.UNKNOWN, "Reg"),
        ("Source image rejected: A signature was required, but no signature exists", Kind.UNKNOWN, "Sig"),
        ("Source image rejected: Running image docker://r.io/a:1 is rejected by policy.", Kind.UNKNOWN, "Sig"),
        ("Error loading trust policy: open /x: no such file or directory", Kind.PRECONDITION, ""),
        ("writing blob: storing blob to file /x/1: write /x/1: no space left on device", Kind.EXHAUSTED, ""),
        ("something new", Kind.INTERNAL, ""),
    ],
)
def test_kinds(text: str, kind: Kind, prefix: str) -> None:
    """Each complaint has its kind, its text in full, and the prefix the kubelet reads where it has one."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    error = failure("image r.io/a:1 cannot be pulled", f'time="2026-01-01T00:00:00Z" level=fatal msg="{quoted}"')
    assert error.kind is kind
    assert error.message.endswith(text)
    if prefix:
        assert error.message.startswith(("RegistryUnavailable: ", "SignatureValidationFailed: "))
        assert error.message.startswith(prefix)
    else:
        assert error.message.startswith("image r.io/a:1 cannot be pulled: ")


def test_mirrors_do_not_decide() -> None:
    """What the mirrors said stays in the text; the origin's answer is the kind."""
    text = (
        "initializing source docker://r.io/a:1: (Mirrors also failed: [m/a:1: reading manifest 1 in m/a: "
        "manifest unknown]): r.io/a:1: pinging container registry r.io: dial tcp: no such host"
    )
    error = failure("x", f'level=fatal msg="{text}"')
    assert error.message.startswith("RegistryUnavailable: ")
    assert "manifest unknown" in error.message


@pytest.mark.parametrize("stderr", ["", "panic: runtime error", 'level=fatal msg="a \\x1b b"', "\xff" * 5000])
def test_any_text_has_a_message(stderr: str) -> None:
    """A crash, nothing at all, and quotes that are no JSON still give a bounded message."""
    assert 0 < len(message_of(stderr)) <= 1000


def test_lost_layer() -> None:
    """The race with a removal is told from other failures."""
    assert is_missing_layer(CrishimError(Kind.INTERNAL, 'adding layer with blob "sha256:00": layer not known'))
    assert not is_missing_layer(CrishimError(Kind.INTERNAL, "manifest unknown"))
