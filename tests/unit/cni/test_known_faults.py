"""What of a plugin's complaints is its own fault, by the words of Debian 12's portmap."""

import pytest

from crishim.cni.known_faults import known_bug

ADDRESSES = ("10.231.0.12", "fd31::c")
SAID = (
    "CNI plugin portmap failed to CHECK: could not check {} dnat: rule [[-p tcp --dport 8098 -s {} "
    "-j CNI-HOSTPORT-SETMARK] [-p tcp --dport 8098 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK]] in chain CNI-DN-1 missing"
)


@pytest.mark.parametrize(
    ("table", "source", "own"),
    [
        ("ipv6", "10.231.0.12/16", True),
        ("ipv4", "fd31::c/64", True),
        ("ipv4", "10.231.0.12/16", False),
        ("ipv6", "fd31::c/64", False),
        ("ipv6", "10.9.9.9/16", False),
    ],
)
def test_portmap(table: str, source: str, *, own: bool) -> None:
    """Rules of one family looked for in the tables of the other are; a rule that is missing is not."""
    said = SAID.format(table, source)
    assert bool(known_bug("portmap", said, ADDRESSES)) == own
    assert known_bug("bridge", said, ADDRESSES) == ""
