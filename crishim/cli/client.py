"""Client of the daemon's own service, crishim.v1.Admin, on the CRI socket; and output helpers of the commands."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from crishim.config import Config
from crishim.errors import CrishimError, Kind

CALL_TIMEOUT = 600.0  # seconds the daemon may take


def daemon_answers(config: Config) -> bool:
    """Whether a daemon listens on the socket, whose file alone may be left over."""
    return not _unreachable(config)


def _unreachable(config: Config) -> str:
    """Why connecting to the socket fails; "" if it succeeds."""
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(config.socket)
        except OSError as error:
            return error.strerror or str(error)
    return ""


@contextlib.contextmanager
def open_channel(config: Config, options: Sequence[tuple[str, Any]] = ()) -> Iterator[Any]:
    """A gRPC channel to the daemon's socket. Raises CrishimError if no daemon answers."""
    if reason := _unreachable(config):
        text = f"no daemon answers at {config.socket} ({reason}): start one (crishim serve, or its unit)"
        raise CrishimError(Kind.UNAVAILABLE, f"{text}, or name another's settings with --config")
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    import grpc

    with grpc.insecure_channel(f"unix:{config.socket}", options=options) as channel:
        yield channel


@contextlib.contextmanager
def connect(config: Config) -> Iterator[Callable[[str, Any, Any], Any]]:
    """Yields a function that calls the daemon's own service. Errors, also of connecting, are CrishimError."""
    with open_channel(config) as channel:
        import grpc

        def call(name: str, request: Any, answer: Any) -> Any:
            method = channel.unary_unary(
                f"/crishim.v1.Admin/{name}",
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )
            try:
                return method(request, timeout=CALL_TIMEOUT)
            except grpc.RpcError as error:
                raise CrishimError(Kind.INTERNAL, str(error.details())) from error

        yield call


def fail(text: str) -> int:
    """Print an error as one line; returns the exit status."""
    sys.stderr.write(f"crishim: {' '.join(text.split())}\n")
    return 1


def plain(text: str) -> str:
    """Untrusted text for a terminal: unprintable characters, such as escapes and line ends, are replaced by "?"."""
    return "".join(c if c.isprintable() else "?" for c in text)


def print_rows(found: Sequence[tuple[str, ...]]) -> int:
    """Print a table, whose first row is the header; returns the exit status."""
    rows = [tuple(map(plain, row)) for row in found]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0


def print_json(found: Iterable[object]) -> int:
    """Print a list as JSON; returns the exit status."""
    sys.stdout.write(json.dumps(list(found), indent=2) + "\n")
    return 0


def size(count: int) -> str:
    """Format bytes: "0 B", "9.4 MB", with units of powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.1f} {unit}" if unit != "B" else f"{count} B"
        value /= 1000
    return f"{value:.1f} GB"
