"""Behind hack/tour: plays the pod of docs/tour.md and prints what it made, or writes it into the page.

usage: hack/tour [--write]      exit status 1 if the page says otherwise
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from hack.teaching import page
from hack.teaching.play import play
from tests.support.isolation import isolate

PAGE = Path(__file__).parents[2] / "docs/tour.md"


def main() -> int:
    isolate()
    with tempfile.TemporaryDirectory(prefix="crishim-tour-", dir="/dev/shm") as directory:
        archive = Path(directory) / "busybox.tar"
        subprocess.run([sys.executable, "hack/build-images", "--demo", archive], check=True, stdout=subprocess.DEVNULL)
        made = play(archive)
    text = PAGE.read_text()
    new = page.renewed(text, made)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(new)
        return 0
    for name, output in made.items():
        print(f"== {name}\n{output}")
    if new != text:
        print("hack/tour: docs/tour.md says otherwise: hack/tour --write", file=sys.stderr)
    return int(new != text)


if __name__ == "__main__":
    sys.exit(main())
