"""Image references."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.images.reference import Reference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest"),
        ("grafana/loki:3", "docker.io/grafana/loki:3"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("localhost/demo", "localhost/demo:latest"),
        ("localhost:5000/demo", "localhost:5000/demo:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("[fd00::1]/a:t", "[fd00::1]/a:t"),
        ("MyHost/a", "MyHost/a:latest"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"quay.io/a/b:tag@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
    ],
)
def test_short_names_become_full(text: str, name: str) -> None:
    """A reference gets its default domain, library/ and tag; a digest decides over a tag."""
    assert parse(text).name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":tag",
        "@" + DIGEST,
        "a" * 64,
        "Busybox",
        "quay.io/Upper",
        "quay.io/",
        "quay.io//a",
        "a/../b",
        "a:b:c",
        "a:",
        "a@sha256:12",
        "a@md5:" + "a" * 32,
        "a b",
        "a\n",
        "-a",
        "quay.io/a:" + "t" * 129,
        "quay.io/" + "a" * 250,
        "host:port/a",
        "--authfile=/x",
        "[::1/a",
        "\u00e4/b",
    ],
)
def test_what_is_no_reference_is_invalid(text: str) -> None:
    """Everything else is INVALID with a sentence that quotes it, and never reaches a command line."""
    with pytest.raises(CrishimError) as caught:
        parse(text)
    assert caught.value.kind is Kind.INVALID


def test_tag_and_digest_are_both_kept() -> None:
    """The text form keeps a tag beside a digest, and the repository has neither."""
    reference = parse(f"busybox:1@{DIGEST}")
    assert str(reference) == f"docker.io/library/busybox:1@{DIGEST}"
    assert reference.repository == "docker.io/library/busybox"


COMPONENT = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8})?", fullmatch=True)
REFERENCES = st.builds(
    Reference,
    domain=st.sampled_from(["docker.io", "quay.io", "localhost:5000", "[::1]:80"]),
    path=st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    tag=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    digest=st.sampled_from(["", DIGEST]),
)


@given(REFERENCES)
def test_normalised_text_parses_to_itself(reference: Reference) -> None:
    """parse() is the inverse of str()."""
    assert parse(str(reference)) == reference


@given(st.text(max_size=80))
def test_any_text_parses_or_is_invalid(text: str) -> None:
    """No text raises anything but INVALID, and what parses never starts like an option."""
    with contextlib.suppress(CrishimError):
        reference = parse(text)
        assert not reference.name.startswith("-")
        assert parse(reference.name).name == reference.name
