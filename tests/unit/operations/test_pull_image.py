"""Which credentials go to which registry."""

import pytest

from crishim.images.credentials import ANONYMOUS, Credentials
from crishim.images.reference import parse
from crishim.operations.pull_image import credentials_for
from crishim.pb import cri_pb2 as cri

SECRET = Credentials(username="u", password="p")


@pytest.mark.parametrize(
    ("image", "server", "expected"),
    [
        ("quay.io/a", "", SECRET),
        ("quay.io/a", "quay.io", SECRET),
        ("quay.io/a", "https://QUAY.io/v2/", SECRET),
        ("busybox", "https://index.docker.io/v1/", SECRET),
        ("busybox", "docker.io", SECRET),
        ("localhost:5000/a", "http://localhost:5000", SECRET),
        ("localhost:5001/a", "http://localhost:5000", ANONYMOUS),
        ("quay.io/a", "quay.io.evil.example", ANONYMOUS),
        ("evil.example/quay.io/a", "quay.io", ANONYMOUS),
    ],
)
def test_server_address(image: str, server: str, expected: Credentials) -> None:
    """Credentials given for a server go to no other one."""
    auth = cri.AuthConfig(username="u", password="p", server_address=server)
    assert credentials_for(parse(image), auth) == expected


def test_no_credentials() -> None:
    """A request without credentials is anonymous."""
    assert credentials_for(parse("quay.io/a"), None) == ANONYMOUS
    assert credentials_for(parse("quay.io/a"), cri.AuthConfig()) == ANONYMOUS
