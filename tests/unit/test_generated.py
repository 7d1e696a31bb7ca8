"""crishim/pb is what api/ generates."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def generated(root: Path) -> dict[str, bytes]:
    pb = root / "crishim/pb"
    return {str(p.relative_to(pb)): p.read_bytes() for p in pb.rglob("*_pb2*") if "__pycache__" not in p.parts}


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    """The committed modules equal what hack/generate makes of api/ now."""
    environment = dict(os.environ) | {"PYTHON": sys.executable}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    subprocess.run([str(ROOT / "hack/generate"), str(tmp_path)], check=True, env=environment)
    fresh = generated(tmp_path)
    assert fresh
    assert fresh == generated(ROOT)
