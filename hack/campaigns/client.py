"""A client that outlives its daemon: what was under way when the daemon died is asked for again, as a kubelet does."""

import time
from typing import Any

import grpc

from tests.support.daemon import Daemon, invoke

PATIENCE = 60.0  # seconds until a call that finds no daemon is given up
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Client:
    """One client of a node, for one thread."""

    def __init__(self, daemon: Daemon) -> None:
        options = [
            ("grpc.max_receive_message_length", 1 << 24),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.min_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.insecure_channel(f"unix:{daemon.socket}", options=options)
        self.repeated = 0  # calls that had to be made again

    def call(self, name: str, request: Any = None, *, deadline: float = 60.0, **fields: Any) -> Any:
        """One RPC, repeated until a daemon answers it. Raises grpc.RpcError for any other answer than UNAVAILABLE."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return invoke(self._channel, name, request, deadline, fields)
            except grpc.RpcError as error:
                if error.code() not in AGAIN or time.monotonic() > until:
                    raise
                self.repeated += 1
                time.sleep(0.02)

    def close(self) -> None:
        self._channel.close()
