"""Another CRI runtime in crishim's place: what a Daemon is to a test, with that runtime's program inside."""

import subprocess
from collections.abc import Sequence

import grpc

from tests.support.daemon import Daemon, eventually


class Peer(Daemon):
    """A subclass sets `program` once its configuration is written."""

    program: Sequence[str] = ()

    def launch(self) -> int:
        """Start, and do not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.program, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return 0

    def wait_serving(self, offset: int, timeout: float = 60.0) -> None:
        """Wait until it is ready, network included. offset: a peer's log is not read."""
        self._channel = self._open_channel()

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended: {self.log.read_text()[-3000:]}"
            try:
                conditions = {c.type: c.status for c in self.call("Status").status.conditions}
            except grpc.RpcError:
                return False
            return bool(conditions["RuntimeReady"] and conditions["NetworkReady"])

        eventually(ready, f"it is ready, see {self.log}", timeout)
