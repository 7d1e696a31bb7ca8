"""Asking a registry for a name's digest: what is sent where, and what a hostile registry brings about."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crishim.images import manifest_digest as module
from crishim.images.credentials import ANONYMOUS, Credentials
from crishim.images.manifest_digest import manifest_digest
from crishim.images.reference import parse
from crishim.images.registry_http import MAX_BODY, MAX_HEAD
from crishim.images.registry_rules import Endpoint
from tests.support.scripted_registry import DIGEST, HANG, Asked, ScriptedRegistry, answer, scripted

SECRET = Credentials(username="me", password="my-password")
BASIC = "Basic " + base64.b64encode(b"me:my-password").decode()
FOUND = answer(200, {"Docker-Content-Digest": DIGEST})


async def ask(registry: ScriptedRegistry, credentials: Credentials = ANONYMOUS, image: str = "a/b:1") -> str:
    endpoint = Endpoint("127.0.0.1", registry.port, insecure=True)
    return await manifest_digest(parse(f"{registry.address}/{image}"), endpoint, credentials)


def wanting(challenge: str, then: Callable[[Asked], bytes]) -> Callable[[Asked], bytes]:
    """A registry that wants an authorization, and what it says to those that bring one."""

    def script(asked: Asked) -> bytes:
        if asked.target == "/v2/" or (asked.method == "HEAD" and "authorization" not in asked.headers):
            return answer(401, {"WWW-Authenticate": challenge})
        return then(asked)

    return script


async def test_open_registry() -> None:
    """A registry that asks for nothing gets no credentials, even if there are some."""
    async with scripted(lambda asked: answer(200) if asked.target == "/v2/" else FOUND) as registry:
        assert await ask(registry, SECRET) == DIGEST
    assert [(a.method, a.target) for a in registry.asked] == [("GET", "/v2/"), ("HEAD", "/v2/a/b/manifests/1")]
    assert all("authorization" not in a.headers for a in registry.asked)


async def test_basic() -> None:
    """Credentials go along when the registry has asked for them; without any the registry is left to skopeo."""
    async with scripted(wanting('Basic realm="x"', lambda _: FOUND)) as registry:
        assert await ask(registry) == ""
        assert registry.heads == []
        assert await ask(registry, SECRET) == DIGEST
    assert registry.heads[0].headers["authorization"] == BASIC


async def test_token() -> None:
    """Credentials go to the token server, and the registry gets its token for this one repository."""

    def token_or_digest(asked: Asked) -> bytes:
        return answer(200, body=b'{"token": "tok"}') if asked.method == "GET" else FOUND

    async with scripted(token_or_digest) as tokens:
        challenge = f'Bearer realm="http://{tokens.address}/token?x=1",service="s",scope="ignored"'
        async with scripted(wanting(challenge, lambda _: FOUND)) as registry:
            assert await ask(registry, SECRET) == DIGEST
    assert tokens.asked[0].target == "/token?x=1&scope=repository%3Aa%2Fb%3Apull&service=s&account=me"
    assert tokens.asked[0].headers["authorization"] == BASIC
    assert [a.headers.get("authorization") for a in registry.asked] == [None, "Bearer tok"]


@pytest.mark.parametrize(
    "token",
    [
        answer(401),
        answer(200, body=b'{"token": "a\\r\\nX: y"}'),
        answer(200, body=b'{"token": 7}'),
        answer(200, body=b'{"token": ""}'),
        answer(200, body=b"[" * 100_000),
        answer(200, body=b"\xff"),
        answer(200, {"Transfer-Encoding": "chunked"}, b"fffffff\r\n" + b" " * (MAX_BODY + MAX_HEAD)),
        answer(302, {"Location": "http://127.0.0.1:1/"}),
    ],
)
async def test_hostile_token_server(token: bytes) -> None:
    """What is no token sends nobody anywhere."""
    async with scripted(lambda _: token) as tokens:
        challenge = f'Bearer realm="http://{tokens.address}/"'
        async with scripted(wanting(challenge, lambda _: FOUND)) as registry:
            assert await ask(registry, SECRET) == ""
    assert registry.heads == []


@pytest.mark.parametrize(
    "realm", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://127.0.0.1:0/", "", "http://["]
)
async def test_realm_that_is_no_address(realm: str) -> None:
    """Credentials go nowhere then."""
    async with scripted(wanting(f'Bearer realm="{realm}"', lambda _: FOUND)) as registry:
        assert await ask(registry, SECRET) == ""
    assert registry.heads == []


async def test_refused_for_ever() -> None:
    """A registry that answers 401 to everything is asked twice, not for ever."""
    async with scripted(lambda _: answer(401, {"WWW-Authenticate": "Basic x"})) as registry:
        assert await ask(registry, SECRET) == ""
    assert len(registry.asked) == 2


async def test_redirect_takes_no_credentials_along() -> None:
    """Where credentials were given out, a redirect is not followed at all."""
    async with scripted(lambda _: FOUND) as other:
        away = answer(307, {"Location": f"http://{other.address}/v2/x"})
        async with scripted(wanting("Basic x", lambda _: away)) as registry:
            assert await ask(registry, SECRET) == ""
    assert other.asked == []


async def test_redirects_of_an_open_registry() -> None:
    """They are followed, without credentials, three times and no more, and not to what is no URL."""
    async with scripted(lambda _: FOUND) as other:
        away = answer(307, {"Location": f"http://{other.address}/v2/x"})
        async with scripted(lambda a: answer(200) if a.target == "/v2/" else away) as registry:
            assert await ask(registry, SECRET) == DIGEST
        assert "authorization" not in other.asked[0].headers
    for location in ("/v2/a/b/manifests/1", "gopher://127.0.0.1/"):
        around = answer(302, {"Location": location})
        async with scripted(lambda a, around=around: answer(200) if a.target == "/v2/" else around) as registry:  # type: ignore[misc]
            assert await ask(registry) == ""
        assert len(registry.heads) <= 4


@pytest.mark.parametrize(
    "head",
    [
        answer(200),
        answer(404),
        answer(200, {"Docker-Content-Digest": "sha256:short"}),
        answer(200, {"Docker-Content-Digest": DIGEST + "\x00"}),
        b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * MAX_HEAD,
        b"HTTP/1.1 100 X\r\n\r\n" * 100_000,
        b"",
        b"\x16\x03\x01",
    ],
)
async def test_answers_without_a_digest(head: bytes) -> None:
    """No digest, no well-formed one, too long, no HTTP at all: it is left to skopeo."""
    async with scripted(lambda a: answer(200) if a.target == "/v2/" else head) as registry:
        assert await ask(registry) == ""


async def test_other_digest_than_asked_for() -> None:
    """For a name with a digest, only that digest counts."""
    async with scripted(lambda a: answer(200) if a.target == "/v2/" else FOUND) as registry:
        assert await ask(registry, image="a/b@sha256:" + "b" * 64) == ""
        assert await ask(registry, image="a/b@" + DIGEST) == DIGEST


@pytest.mark.parametrize("at", ["/v2/", "/v2/a/b/manifests/1"])
async def test_registry_that_never_answers(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up after a while."""
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    async with scripted(lambda a: HANG if a.target == at else answer(200)) as registry:
        assert await ask(registry) == ""
    assert registry.asked[-1].target == at


async def test_verified_only() -> None:
    """A registry that is not insecure is asked over TLS alone: plain HTTP gets no request."""
    async with scripted(lambda _: FOUND) as registry:
        endpoint = Endpoint("127.0.0.1", registry.port, insecure=False)
        assert await manifest_digest(parse(f"{registry.address}/a/b:1"), endpoint, SECRET) == ""
    assert registry.asked == []


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 401 X\r\nWWW-Authenticate: "]))
async def test_any_bytes(noise: bytes, start: bytes) -> None:
    """Whatever a registry sends, the answer is a digest or nothing."""
    async with scripted(lambda _: start + noise) as registry:
        assert await ask(registry, SECRET) in ("", DIGEST)
