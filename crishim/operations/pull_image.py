"""PullImage: pull an image into the store, with credentials if the request has them."""

from crishim.errors import CrishimError, Kind
from crishim.images.credentials import ANONYMOUS, Credentials, decode
from crishim.images.reference import DEFAULT_DOMAIN, Reference, parse
from crishim.model import ImageRecord
from crishim.node import Node
from crishim.pb import cri_pb2 as cri


async def pull_image(node: Node, name: str, auth: cri.AuthConfig | None) -> ImageRecord:
    """Pull an image by tag or digest and return its record.

    Raises INVALID for an invalid reference or credentials, NOT_FOUND and DENIED as the registry answers, UNKNOWN with
    the prefixes RegistryUnavailable and SignatureValidationFailed, DEADLINE, EXHAUSTED for a full disk.
    """
    if not name:
        raise CrishimError(Kind.INVALID, "PullImage needs an image name")
    reference = parse(name)
    return await node.transport.pull(reference, credentials_for(reference, auth))


def credentials_for(reference: Reference, auth: cri.AuthConfig | None) -> Credentials:
    """The credentials for the reference's registry: none if they were given for another server."""
    if auth is None or (auth.server_address and _host(auth.server_address) != _host(reference.domain)):
        return ANONYMOUS
    return decode(auth.username, auth.password, auth.auth, auth.identity_token, auth.registry_token)


def _host(address: str) -> str:
    """A server address as docker's configuration writes it (https://index.docker.io/v1/), reduced to host and port."""
    host = address.split("://", 1)[-1].split("/", 1)[0].lower()
    return DEFAULT_DOMAIN if host in ("index.docker.io", "registry-1.docker.io") else host
