"""Ask a registry for the digest of a name's manifest, without fetching it (distribution-spec 1.1, "Checking if content
exists in the registry").

Like containers/image: GET /v2/ returns the authentication scheme; only then are credentials sent to the registry, or to
the token server it names; and HEAD returns the digest. In every other case the result is "": skopeo then pulls, and
reports errors. The digest is not verified: it only confirms an image that is already stored under it.
"""

import asyncio
import base64
import json
import logging
import re
import urllib.parse

import h11

from crishim.images.credentials import Credentials
from crishim.images.reference import Reference
from crishim.images.registry_http import MAX_PORT, UNVERIFIED, HttpAddress, HttpResponse, request
from crishim.images.registry_rules import Endpoint

TIMEOUT = 5.0  # seconds for all requests; after that skopeo pulls
MAX_REDIRECTS = 3
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"\\]*)"')

log = logging.getLogger("crishim.images")


class NeedsSkopeo(Exception):
    """The registry requires something that only skopeo does."""


async def manifest_digest(image: Reference, endpoint: Endpoint, credentials: Credentials) -> str:
    """The digest of the manifest or index that the registry has for a name now; "" if it is not known."""
    answer = await ask("HEAD", image, endpoint, credentials)
    found = answer.header("docker-content-digest") if answer else ""
    return found if _DIGEST.fullmatch(found) and image.digest in ("", found) else ""


async def ask(method: str, image: Reference, endpoint: Endpoint, credentials: Credentials) -> HttpResponse | None:
    """The registry's response for a manifest if its status is 200; None otherwise, or after TIMEOUT."""
    schemes = (UNVERIFIED, "http") if endpoint.insecure else ("https",)
    try:
        async with asyncio.timeout(TIMEOUT):
            for scheme in schemes:
                try:
                    return await _asked(method, image, HttpAddress(scheme, endpoint.host, endpoint.port), credentials)
                except (OSError, h11.ProtocolError) as error:
                    log.debug("registry not asked", extra={"image": image.name, "scheme": scheme, "reason": str(error)})
    except (NeedsSkopeo, ValueError, RecursionError, TimeoutError) as error:
        reason = str(error) or f"no answer within {TIMEOUT:g} s"
        log.debug("registry not asked", extra={"image": image.name, "reason": reason})
    return None


async def _asked(method: str, image: Reference, registry: HttpAddress, credentials: Credentials) -> HttpResponse:
    authorization = await _authorization(image, registry, credentials)
    target = f"/v2/{image.path}/manifests/{image.digest or image.tag}"
    headers = {"Accept": ACCEPT} | ({"Authorization": authorization} if authorization else {})
    answer = await request(method, registry, target, headers)
    for _ in range(MAX_REDIRECTS):
        if answer.status not in (301, 302, 303, 307, 308):
            break
        if authorization:
            raise NeedsSkopeo("a redirect, which credentials must not follow")
        registry, target = _url(urllib.parse.urljoin(_text(registry, target), answer.header("location")), registry)
        answer = await request(method, registry, target, headers)
    if answer.status != 200:
        raise NeedsSkopeo(f"status {answer.status}")
    return answer


async def _authorization(image: Reference, registry: HttpAddress, credentials: Credentials) -> str:
    """The Authorization header that the registry requires; "" if it requires none, even with credentials."""
    ping = await request("GET", registry, "/v2/", {})
    if ping.status == 200:
        return ""
    challenges = [value for key, value in ping.headers if key == "www-authenticate"]
    if ping.status != 401 or len(challenges) != 1:
        raise NeedsSkopeo(f"status {ping.status} and {len(challenges)} challenges")
    scheme, _, rest = challenges[0].partition(" ")
    if scheme.lower() == "basic" and credentials:
        return _basic(credentials)
    if scheme.lower() == "bearer":
        return "Bearer " + await _token(image, registry, credentials, dict(_PARAMETER.findall(rest)))
    raise NeedsSkopeo("credentials are needed, or an unknown kind of them")


async def _token(image: Reference, registry: HttpAddress, credentials: Credentials, challenge: dict[str, str]) -> str:
    """A token for pulling from the image's repository (distribution's docs, "Token authentication specification")."""
    server, target = _url(challenge.get("realm", ""), registry)
    query = {"scope": f"repository:{image.path}:pull"}
    query |= {"service": challenge["service"]} if "service" in challenge else {}
    query |= {"account": credentials.username} if credentials.username else {}
    target += ("&" if "?" in target else "?") + urllib.parse.urlencode(query)
    answer = await request("GET", server, target, {"Authorization": _basic(credentials)} if credentials else {})
    if answer.status != 200:
        raise NeedsSkopeo(f"the token server answers {answer.status}")
    return _token_in(answer)


def _token_in(answer: HttpResponse) -> str:
    found = json.loads(answer.body)
    token = (found.get("token") or found.get("access_token")) if isinstance(found, dict) else None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise NeedsSkopeo("the token server gives no token")
    return token


def _basic(credentials: Credentials) -> str:
    return "Basic " + base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()


def _url(text: str, sender: HttpAddress) -> tuple[HttpAddress, str]:
    """Address and target of a URL in a response; http only if the response came by http. Raises NeedsSkopeo."""
    parts = urllib.parse.urlsplit(text)
    port = parts.port
    if not parts.hostname or parts.username is not None or not (port is None or 0 < port <= MAX_PORT):
        raise NeedsSkopeo("no URL to go to")
    if parts.scheme != "https" and (parts.scheme, sender.scheme) != ("http", "http"):
        raise NeedsSkopeo("a URL to go to that is less safe")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return HttpAddress(parts.scheme, parts.hostname, port), target


def _text(address: HttpAddress, target: str) -> str:
    return f"{'http' if address.scheme == 'http' else 'https'}://{address.authority}{target}"
