"""TLS to a registry: whom it trusts, and that this is not loaded again for each request."""

import os
import ssl
import subprocess
from pathlib import Path

import pytest

from crishim.images.credentials import Credentials
from crishim.images.manifest_digest import manifest_digest
from crishim.images.reference import parse
from crishim.images.registry_http import authorities
from crishim.images.registry_rules import Endpoint
from tests.support.scripted_registry import DIGEST, Asked, answer, scripted


def certificate(directory: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that signs itself for an address, and a server's TLS with it."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=test", "-addext", f"subjectAltName=IP:{name}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def script(asked: Asked) -> bytes:
    return answer(200, {"Docker-Content-Digest": DIGEST})


@pytest.mark.parametrize(("name", "found"), [("127.0.0.1", DIGEST), ("127.0.0.2", "")])
async def test_trusted(name: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry whose certificate the host trusts is asked, if the certificate is for its name."""
    cert, tls = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with scripted(script, tls) as registry:
        endpoint = Endpoint("127.0.0.1", registry.port, insecure=False)
        assert await manifest_digest(parse(f"{registry.address}/a:1"), endpoint, Credentials()) == found
    assert bool(registry.asked) is bool(found)


@pytest.mark.parametrize(("insecure", "found"), [(False, ""), (True, DIGEST)])
async def test_not_trusted(insecure: bool, found: str, tmp_path: Path) -> None:
    """A certificate that nobody knows will do only where registries.conf says so; otherwise no request is sent."""
    _, tls = certificate(tmp_path, "127.0.0.1")
    async with scripted(script, tls) as registry:
        endpoint = Endpoint("127.0.0.1", registry.port, insecure=insecure)
        assert await manifest_digest(parse(f"{registry.address}/a:1"), endpoint, Credentials()) == found
    assert bool(registry.asked) is bool(found)


def test_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authorities are loaded again when their file has changed, and only then."""
    cert, _ = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    first = authorities()
    assert authorities() is first
    os.utime(cert, (1, 1))
    assert authorities() is not first
