"""What differs from run to run gets a name, so that the outputs of two runs are the same text.

Ids, process numbers, inodes and directories are replaced where they are known; times, hardware addresses, numbers of
interfaces and the names of a bridge plugin's veth by their form.
"""

import re
from pathlib import Path

FORMS = (
    (r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b", "<mac>"),
    (r"\bveth[0-9a-f]{8}\b", "<veth>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)", "<time>"),
    (r"\b[A-Z][a-z]{2} [ \d]\d (?:\d\d:\d\d| \d{4})", "<date>"),  # of ls -l
    (r"\b1[789]\d{17}\b", "<ns>"),  # nanoseconds since 1970
    (r"(?m)^\d+(?=: \w+ +inet )", "<ifindex>"),  # of ip -o addr
    (r"(?m)\\? +valid_lft .*$", ""),
)


class Names:
    """The names of one run. Directories are called what they are by default, so that the text reads as on a node."""

    def __init__(self, directory: Path) -> None:
        self._known: list[tuple[str, str]] = []
        self.add(f"{directory}/state", "/var/lib/crishim")
        self.add(f"{directory}/run", "/run/crishim")
        self.add(f"{directory}/logs", "/var/log/tour")
        self.add(f"{directory}/ipam", "/var/lib/cni/networks")
        self.add(f"{directory}/plugins", "<recorder>")
        self.add(f"/{directory.name}/", "/crishim/")

    def add(self, text: object, name: str) -> None:
        """From now on this text is shown under a name. Numbers are replaced where they stand alone."""
        pattern = re.escape(str(text))
        self._known.append((rf"(?<![\w.]){pattern}(?![\w.])" if str(text).isdigit() else pattern, name))

    def apply(self, text: str) -> str:
        for pattern, name in self._known:
            text = re.sub(pattern, name, text)
        for pattern, name in FORMS:
            text = re.sub(pattern, name, text)
        return text
