"""Registry credentials and the auth file made of them."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crishim.errors import CrishimError, Kind
from crishim.images.credentials import ANONYMOUS, Credentials, auth_file, decode, write_secret
from crishim.images.reference import parse

IMAGE = parse("quay.io/a/b:1")


def basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ANONYMOUS),
        ({"username": "u", "password": "p"}, Credentials("u", "p")),
        ({"auth": basic("u:p:q")}, Credentials("u", "p:q")),
        ({"username": "u", "password": "p", "auth": basic("x:y")}, Credentials("u", "p")),
        ({"identity_token": "t"}, Credentials(identity_token="t")),
        ({"username": "u", "identity_token": "t"}, Credentials("u", identity_token="t")),
        ({"username": "u", "password": "p", "registry_token": "r"}, Credentials("u", "p")),
    ],
)
def test_fields(fields: dict[str, str], expected: Credentials) -> None:
    """An identity token wins over user and password, those over auth."""
    names = ("username", "password", "auth", "identity_token", "registry_token")
    assert decode(*(fields.get(n, "") for n in names)) == expected


@pytest.mark.parametrize("auth", ["%%%", basic("no colon"), base64.b64encode(b"\xff:\xff").decode()])
def test_bad_auth_is_invalid(auth: str) -> None:
    """An auth that is no user:password in base64 is INVALID, and the error does not quote it."""
    with pytest.raises(CrishimError) as caught:
        decode("", "", auth, "", "")
    assert caught.value.kind is Kind.INVALID
    assert auth not in caught.value.message


def test_registry_token_is_refused() -> None:
    """A bare registry token is UNIMPLEMENTED: skopeo would show it to every process of the node."""
    with pytest.raises(CrishimError) as caught:
        decode("", "", "", "", "secret-token")
    assert caught.value.kind is Kind.UNIMPLEMENTED
    assert "secret-token" not in caught.value.message


def test_file_adds_to_the_nodes_own() -> None:
    """The entry is the repository's own, beside what the node has; other settings stay."""
    node: dict[str, dict[str, Any]] = {
        "auths": {"quay.io": {"auth": basic("node:x")}},
        "credHelpers": {"gcr.io": "gcloud"},
    }
    made = json.loads(auth_file(Credentials("u", "p"), IMAGE, node))
    assert made["auths"]["quay.io/a/b"] == {"auth": basic("u:p")}
    assert made["auths"]["quay.io"] == node["auths"]["quay.io"]
    assert made["credHelpers"] == node["credHelpers"]
    token = json.loads(auth_file(Credentials(identity_token="t"), IMAGE, {"auths": "broken"}))
    assert token["auths"] == {"quay.io/a/b": {"auth": basic(":"), "identitytoken": "t"}}


@given(st.text(), st.text(), st.text())
def test_no_secret_in_the_repr(username: str, password: str, token: str) -> None:
    """The repr is the same for all credentials."""
    assert repr(Credentials(username, password, token)) == "Credentials()"


def test_fingerprints() -> None:
    """Equal credentials have equal fingerprints, shifted fields do not."""
    assert Credentials("a", "b").fingerprint() == Credentials("a", "b").fingerprint()
    assert Credentials("ab", "").fingerprint() != Credentials("a", "b").fingerprint()
    assert ANONYMOUS.fingerprint() == ""


def test_secret_file_is_private_and_new(tmp_path: Path) -> None:
    """The file has mode 0600 and is never one that somebody put there before."""
    write_secret(tmp_path / "auth", b"x")
    assert stat.S_IMODE((tmp_path / "auth").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_secret(tmp_path / "auth", b"y")
