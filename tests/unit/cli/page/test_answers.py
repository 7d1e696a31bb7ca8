"""Who may read what, from the head of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.cli.page.answers import PageRefusal, Resource, answer, refuse, resource_of
from crishim.cri.stream.http_upgrade import UpgradeRequest
from tests.unit.cli.page.samples import POD

SECRET = "Kx3-_aB"


def asked(path: str, method: str = "GET", secret: str = SECRET, **headers: list[str]) -> Resource | PageRefusal:
    return resource_of(UpgradeRequest(method, path, headers or {"host": ["127.0.0.1:9798"]}), secret)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", Resource("page")),
        ("events", Resource("events")),
        ("page.css", Resource("file", "page.css")),
        (f"starts/{POD}.svg", Resource("start.svg", POD)),
        (f"starts/{POD}.txt", Resource("start.txt", POD)),
    ],
)
def test_what_there_is(path: str, wanted: Resource) -> None:
    """Below the secret name; without one, at the top."""
    assert asked(f"/{SECRET}/{path}") == wanted
    assert asked(f"/{SECRET}/{path}", "HEAD") == wanted
    assert asked(f"/{path}", secret="") == wanted
    refused = asked(f"/{SECRET}/{path}", "POST")
    assert isinstance(refused, PageRefusal)
    assert refused.status == 405


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../../etc/passwd",
            "..%2f..%2fetc/passwd",
            "//",
            "page.css/",
            "page.css/..",
            "server.py",
            "starts/",
            "starts/.svg",
        ),
        *(
            f"starts/{POD}",
            f"starts/../{POD}.svg",
            f"starts/{POD[:13]}.svg",
            f"starts/{POD}.html",
            f"starts/{POD}.svg.txt",
        ),
        *(f"{SECRET}/", "http://127.0.0.1/", "*", "events/"),
    ],
)
def test_what_there_is_not(path: str) -> None:
    """Files are known by name, never looked for."""
    found = asked(f"/{SECRET}/{path}")
    assert isinstance(found, PageRefusal)
    assert found.status == 404


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_nothing_without_the_secret(path: str) -> None:
    found = asked(f"/{path}")
    assert isinstance(found, PageRefusal) or path.startswith(f"{SECRET}/")


@pytest.mark.parametrize("path", ["/", f"/{SECRET}", f"/{SECRET}x/", f"/{SECRET.lower()}/", "//", f"/x/{SECRET}/"])
def test_nearly_the_secret(path: str) -> None:
    found = asked(path)
    assert isinstance(found, PageRefusal)
    assert "what `crishim page` has printed" in found.text


@pytest.mark.parametrize(
    ("hosts", "is_good"),
    [
        *(
            (["localhost"], True),
            (["LocalHost:8080"], True),
            (["127.0.0.1:1"], True),
            (["[::1]:80"], True),
            (["127.0.0.2"], True),
        ),
        *(
            ([host], False)
            for host in ("", "evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "127.0.0.1x")
        ),
        *(([host], False) for host in ("localhost:80:80", "localhost.", "localhost:x", "[::1", "user@localhost")),
        *(([], False), (["localhost", "localhost"], False), (["localhost, evil.example"], False)),
    ],
)
def test_hosts(hosts: list[str], is_good: bool) -> None:
    """A name that a page of another site can have lead here (DNS rebinding) is none of ours."""
    found = asked(f"/{SECRET}/", host=hosts)
    assert found == Resource("page") if is_good else isinstance(found, PageRefusal) and found.status == 403


def test_heads() -> None:
    """Each answer says that nothing of it is kept, guessed at, framed, or may load anything from elsewhere."""
    for sent in (answer("text/html", b"<p>"), refuse(PageRefusal(404, "no")), refuse(PageRefusal(405, "no"))):
        head, _, body = sent.decode().partition("\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:])
        lines = {name.lower(): value for name, value in lines.items()}
        assert lines["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in lines["content-security-policy"]
        assert "frame-ancestors 'none'" in lines["content-security-policy"]
        assert (lines["x-content-type-options"], lines["cache-control"]) == ("nosniff", "no-store")
        assert (lines["referrer-policy"], lines["connection"]) == ("no-referrer", "close")
        assert int(lines["content-length"]) == len(body)
    assert answer("text/html", b"<p>", bare=True) == answer("text/html", b"<p>")[:-3]
