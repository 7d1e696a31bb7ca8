"""Generic netlink: families of commands, each with a message type assigned at boot. linux/genetlink.h."""

import struct

from crishim.linux.netlink.rtnetlink import Rtnetlink, table, text

NETLINK_GENERIC = 16
GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2

_HEAD = struct.Struct("=BBH")  # struct genlmsghdr: command, version, reserved
_families: dict[str, int] = {}  # the same in every namespace


class Genetlink(Rtnetlink):
    """A generic netlink socket in the network namespace this thread is in."""

    def __init__(self) -> None:
        super().__init__(NETLINK_GENERIC)

    def family(self, name: str) -> int:
        """The message type of a family that is built into the kernel ("ethtool"). Raises OSError, ENOENT if this kernel
        does not have it."""
        if name not in _families:
            body = _HEAD.pack(CTRL_CMD_GETFAMILY, 1, 0) + text(CTRL_ATTR_FAMILY_NAME, name)
            found = table(self.ask(GENL_ID_CTRL, body).body[_HEAD.size :])
            _families[name] = int(struct.unpack("=H", found[CTRL_ATTR_FAMILY_ID])[0])
        return _families[name]

    def call(self, family: str, command: int, body: bytes) -> list[bytes]:
        """Send one command; the attributes of each answer. Raises OSError."""
        answers = self.request(self.family(family), _HEAD.pack(command, 1, 0) + body)
        return [a.body[_HEAD.size :] for a in answers]

    def call_each(self, family: str, commands: list[int], body: bytes) -> list[bytes | OSError]:
        """Send commands that have one answer each, all with the same attributes. Returns each one's answer or error."""
        kind = self.family(family)
        answers = self.batch([(kind, _HEAD.pack(command, 1, 0) + body) for command in commands])
        return [a if isinstance(a, OSError) else a.body[_HEAD.size :] for a in answers]
