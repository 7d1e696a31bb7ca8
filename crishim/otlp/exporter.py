"""Sends calls to a collector from a thread of its own. A collector that is down, slow or hangs loses traces and delays
nothing: the queue is bounded, and calls that do not fit are dropped and counted.
"""

import http.client
import logging
import queue
import threading
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from crishim.traces import Traces
from crishim.tracing import Call

if TYPE_CHECKING:
    from crishim.otlp.encode import EndedCall

MOST_WAITING = 1000  # calls
MOST_AT_ONCE = 100  # calls in a request
PAUSE = 1.0  # seconds in which calls are gathered into one request
PATIENCE = 5.0  # seconds for connecting, and for each read and write
_MOST_ANSWERED = 1 << 16  # bytes read of a response
_LAST = 0.5  # seconds stop() waits: a collector that hangs must not delay a restart
MILLION = 1_000_000

log = logging.getLogger("crishim.otlp")


class Exporter:
    """Exports every call that traces keep, from its construction until stop()."""

    def __init__(self, endpoint: str, sampling_rate_per_million: int, traces: Traces, *, pause: float = PAUSE) -> None:
        """endpoint: http://HOST:PORT or https://; its path is /v1/traces if it has none."""
        self._url = urlsplit(endpoint)
        self._rate = sampling_rate_per_million
        self._traces = traces
        self._pause = pause
        self._waiting: queue.Queue[tuple[Call, str, str] | None] = queue.Queue(MOST_WAITING)
        self._stopping = threading.Event()
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()
        traces.export = self._offer

    def stop(self) -> None:
        """Send queued calls, for half a second at most. Blocks."""
        self._traces.export = None
        self._stopping.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_LAST)

    def _offer(self, call: Call, pod: str, name: str) -> None:
        """Queue a call if it is sampled: the client's trace-flags decide, without them the rate, by the trace id."""
        sampled = call.parent.sampled if call.parent else call.trace_id % MILLION < self._rate
        if not sampled:
            return
        try:
            self._waiting.put_nowait((call, pod, name))
        except queue.Full:
            self._traces.lost += 1

    def _run(self) -> None:
        from crishim.otlp.encode import EndedCall, encode  # here, so that the daemon's start does not wait for it

        while calls := [EndedCall(*each) for each in self._gather()]:
            self._send(encode(calls), calls)

    def _gather(self) -> "list[tuple[Call, str, str]]":
        """The next calls, once there is one; [] at the end."""
        first = self._waiting.get()
        found = [first] if first else []
        if found:
            self._stopping.wait(self._pause)
        while found and len(found) < MOST_AT_ONCE:
            try:
                each = self._waiting.get_nowait()
            except queue.Empty:
                break
            if each is None:
                self._waiting.put_nowait(None)  # for the next call, which returns []
                break
            found.append(each)
        return found

    def _send(self, body: bytes, calls: "list[EndedCall]") -> None:
        try:
            _post(self._url, body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._traces.lost += len(calls)
            trouble = str(error) or type(error).__name__
            if trouble != self._trouble:
                log.warning("the collector takes no traces", extra={"endpoint": self._url.geturl(), "why": trouble})
            self._trouble = trouble
            return
        if self._trouble:
            log.info("the collector takes traces again", extra={"endpoint": self._url.geturl()})
        self._trouble = ""


def _post(url: SplitResult, body: bytes) -> None:
    """Raises OSError or http.client.HTTPException unless the collector answers 2xx."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=PATIENCE)
    try:
        connection.request("POST", url.path or "/v1/traces", body, {"Content-Type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read(_MOST_ANSWERED)
        if answer.status // 100 != 2:
            raise OSError(f"it answers {answer.status} {answer.reason:.100}")
    finally:
        connection.close()
