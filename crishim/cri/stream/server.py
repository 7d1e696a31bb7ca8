"""The streaming server: hands out single-use URLs and serves what they stand for.

server = StreamServer(open_exec, open_attach, open_port)
await server.start("127.0.0.1", 0)
server.exec_url(request) -> "http://127.0.0.1:40123/exec/dGhpcyBp"
await server.stop()
"""

from crishim.cri.stream.sessions import OpenAttach, OpenExec, OpenPort
from crishim.pb import cri_pb2 as cri


class StreamServer:
    """An HTTP server on its own address.

    tls_cert, tls_key: paths of PEM files; both or neither. creation_timeout: seconds a client has to create its
    streams. idle_timeout: seconds without a byte in either direction until a connection is closed.
    """

    def __init__(
        self,
        open_exec: OpenExec,
        open_attach: OpenAttach,
        open_port: OpenPort,
        *,
        tls_cert: str = "",
        tls_key: str = "",
        creation_timeout: float = 30,
        idle_timeout: float = 4 * 3600,
    ) -> None:
        self.url = ""  # "http://127.0.0.1:40123", once started

    async def start(self, address: str, port: int) -> None:
        """Listen; port 0 takes a free one. UNAVAILABLE if the address is taken, INVALID for unusable TLS files."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening, close every session (exec'd commands are killed) and wait until they are gone."""
        raise NotImplementedError

    def exec_url(self, request: cri.ExecRequest) -> str:
        """A URL for one exec. INVALID as below; EXHAUSTED when 1000 URLs wait for their client."""
        raise NotImplementedError

    def attach_url(self, request: cri.AttachRequest) -> str:
        """A URL for one attach. INVALID if no stream is asked for, or tty and stderr together."""
        raise NotImplementedError

    def port_forward_url(self, request: cri.PortForwardRequest) -> str:
        """A URL for port forwarding into one pod, for any number of connections."""
        raise NotImplementedError
