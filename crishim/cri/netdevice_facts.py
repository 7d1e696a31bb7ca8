"""An attached network device as JSON-ready values, for verbose Status RPCs and `crishim netdev show`."""

from crishim.netdev.presence import Presence
from crishim.netdev.records import Attachment


def facts(attachment: Attachment, now: Presence) -> dict[str, object]:
    """now: the device's conditions in its pod."""
    return {
        "name": attachment.name,
        "hostName": attachment.host.name,
        "ifindex": attachment.index,
        "mac": attachment.host.mac.hex(":"),
        "mtu": attachment.host.mtu,
        "kind": attachment.host.kind,
        "addresses": list(attachment.addresses),
        "state": str(attachment.state),
        "conditions": list(now.conditions),
        "nameNow": now.renamed or (attachment.name if now.is_there else ""),
        "goneBy": now.why,
        "mover": str(attachment.mover),
        "sources": list(attachment.sources),
        "pod": attachment.pod.id,
        "podName": str(attachment.pod),
        "since": attachment.since,
        "warnings": list(attachment.warnings),
        "reason": attachment.reason,
    }
