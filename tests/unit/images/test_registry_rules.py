"""Whether a registry may be asked without skopeo: only where the host's configuration says nothing special."""

import json
from pathlib import Path

import msgspec
import pytest

from crishim.images.credentials import ANONYMOUS, Credentials
from crishim.images.reference import parse
from crishim.images.registry_rules import Endpoint, Sources, endpoint, host_sources

SECRET = Credentials(username="me", password="my-password")
ACCEPT = {"default": [{"type": "insecureAcceptAnything"}]}
PLAIN = Endpoint("registry.example", None, insecure=False)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A host whose policy accepts everything, and which says nothing else."""
    (tmp_path / "policy.json").write_text(json.dumps(ACCEPT))
    (tmp_path / "registries.conf.d").mkdir()
    return Sources(
        registries=(tmp_path / "registries.conf",),
        drop_ins=(tmp_path / "registries.conf.d",),
        policies=(tmp_path / "policy.json",),
        certificates=(tmp_path / "certs.d",),
        auth=(tmp_path / "auth.json",),
        environ={},
    )


def where(sources: Sources, name: str = "registry.example/a/b:1", credentials: Credentials = ANONYMOUS) -> object:
    return endpoint(parse(name), credentials, sources)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("registry.example/a/b:1", PLAIN),
        ("registry.example:5000/a", Endpoint("registry.example", 5000, insecure=False)),
        ("[::1]:5000/a", Endpoint("::1", 5000, insecure=False)),
        ("[::1]/a", Endpoint("::1", None, insecure=False)),
        ("busybox", Endpoint("registry-1.docker.io", None, insecure=False)),
    ],
)
def test_host_without_configuration(sources: Sources, name: str, found: Endpoint) -> None:
    """A registry is where its name says."""
    assert where(sources, name) == found


@pytest.mark.parametrize(
    ("conf", "found"),
    [
        ("", PLAIN),
        ('unqualified-search-registries = ["x.example"]\n[aliases]\n"a" = "x.example/a"', PLAIN),
        ('[[registry]]\nlocation = "other.example"\nblocked = true', PLAIN),
        ('[[registry]]\nlocation = "registry.example.org"\ninsecure = true', PLAIN),
        ('[[registry]]\nlocation = "registry.exam"\ninsecure = true', PLAIN),
        ('[[registry]]\nlocation = "registry.example"\ninsecure = true', Endpoint("registry.example", None, True)),
        ('[[registry]]\nprefix = "registry.example/a"\nlocation = "registry.example/a"', PLAIN),
        ('[[registry]]\nlocation = "registry.example"\nblocked = true', None),
        ('[[registry]]\nlocation = "registry.example/a"\nblocked = true', None),
        ('[[registry]]\nprefix = "*.example"\nblocked = true', None),
        ('[[registry]]\nprefix = "*.example"\ninsecure = true', None),
        ('[[registry]]\nprefix = "registry.example"\nlocation = "other.example"', None),
        ('[[registry]]\nlocation = "registry.example"\n[[registry.mirror]]\nlocation = "m.example"', None),
        ('[[registry]]\nlocation = "registry.example"\nmirror-by-digest-only = true', None),
        ('[[registry]]\nlocation = "registry.example"\nof-tomorrow = true', None),
        ('[[registry]]\nlocation = "registry.example"\ninsecure = "yes"', None),
        ("[[registry]]\ninsecure = true", None),
        (
            '[[registry]]\nlocation = "registry.example"\ninsecure = true\n[[registry]]\nprefix = "registry.example/a"',
            None,
        ),
        ('credential-helpers = ["secretservice"]', None),
        ("[registries.search]\nregistries = []", None),
        ("registry = 7", None),
        ("not toml", None),
    ],
)
def test_registries_conf(sources: Sources, conf: str, found: Endpoint | None) -> None:
    """Only being insecure is followed; the same in a drop-in."""
    sources.registries[0].write_text(conf)
    assert where(sources) == found
    sources.registries[0].rename(sources.drop_ins[0] / "50-x.conf")
    assert where(sources) == found


@pytest.mark.parametrize(
    ("policy", "plain"),
    [
        (ACCEPT, True),
        ({**ACCEPT, "transports": {"docker-daemon": {"": [{"type": "reject"}]}}}, True),
        ({**ACCEPT, "transports": {"docker": {"other.example": [{"type": "insecureAcceptAnything"}]}}}, True),
        ({**ACCEPT, "transports": {"docker": {"other.example": [{"type": "signedBy"}]}}}, False),
        ({**ACCEPT, "transports": {"docker": {"": []}}}, False),
        ({"default": [{"type": "reject"}]}, False),
        ({"default": []}, False),
        ({}, False),
        ([], False),
    ],
)
def test_policy(sources: Sources, policy: object, plain: bool) -> None:
    """A policy that may want a signature is skopeo's."""
    sources.policies[0].write_text(json.dumps(policy))
    assert (where(sources) == PLAIN) is plain


def test_no_policy(sources: Sources) -> None:
    """Without a policy skopeo fails, and is to say so."""
    sources.policies[0].unlink()
    assert where(sources) is None


def test_credentials_of_the_node(sources: Sources) -> None:
    """An auth file may have an entry for the registry; credentials of the call win over it, but not a token."""
    sources.auth[0].write_text("{}")
    assert where(sources) is None
    assert where(sources, credentials=SECRET) == PLAIN
    assert where(sources, credentials=Credentials(identity_token="t")) is None


@pytest.mark.parametrize(("name", "directory"), [("registry.example/a", "registry.example"), ("a", "docker.io")])
def test_own_certificates(sources: Sources, name: str, directory: str) -> None:
    """A registry with certificates of its own is skopeo's."""
    (sources.certificates[0] / directory).mkdir(parents=True)
    assert where(sources, name) is None
    assert where(sources, "elsewhere.example/a") is not None


@pytest.mark.parametrize("word", ["https_proxy", "HTTP_PROXY", "REGISTRY_AUTH_FILE"])
def test_environment(sources: Sources, word: str) -> None:
    """What steers skopeo from the environment is not followed here; an empty word steers nothing."""
    assert where(msgspec.structs.replace(sources, environ={word: "x"})) is None
    assert where(msgspec.structs.replace(sources, environ={word: ""})) == PLAIN


def test_oversized_file(sources: Sources) -> None:
    """A file beyond any real size is not read through."""
    sources.registries[0].write_text("#" * (1 << 20) + "\n")
    assert where(sources) is None


def test_given_files_take_the_place_of_the_hosts(tmp_path: Path) -> None:
    """As skopeo's options do, drop-ins excepted."""
    found = host_sources(tmp_path / "r", tmp_path / "p", None)
    assert (found.registries, found.policies) == ((tmp_path / "r",), (tmp_path / "p",))
    assert Path("/etc/containers/registries.conf.d") in found.drop_ins
    assert Path("/etc/containers/registries.conf") in host_sources(None, None, None).registries
