"""A udev of one rule, in the namespace it is started in: a link of this MAC is called that. Renames so many times.

Arguments: MAC, name, times. It acts on the kernel's notification that a link is there (as udevd on its "add" event),
and afterwards on its being called otherwise, as a worse udev would.
"""

import socket
import sys

from crishim.linux.netlink import links, rtnetlink


def main(mac: str, name: str, times: int) -> None:
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    events.bind((0, 1))  # RTNLGRP_LINK
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    with rtnetlink.Rtnetlink() as netlink:
        while times:
            for kind, _, _, body in rtnetlink.split(events.recv(1 << 18)):
                if kind != links.RTM_NEWLINK:
                    continue
                seen = links.parse(body)
                now = links.get(netlink, seen.index) if seen.mac == bytes.fromhex(mac.replace(":", "")) else None
                if now is not None and now.name != name and times:
                    links.change(netlink, now.index, name=name)
                    times -= 1


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
