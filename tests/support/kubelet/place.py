"""Where a node is: by what name and address a cluster knows it, and how a program gets there."""

from dataclasses import dataclass

from tests.support.kubelet.host import ADDRESS

NAME = "node"


@dataclass(frozen=True)
class Place:
    name: str = NAME
    address: str = ADDRESS
    inside: tuple[str, ...] = ()  # the command that runs another one there; () for the namespaces we are in

    @property
    def reached(self) -> str:
        """The address its kubelet is asked at."""
        return self.address if self.inside else "127.0.0.1"


HERE = Place()
