"""The daemon's own metrics for Prometheus, on an HTTP address of their own, only where the settings name one.

prometheus_client costs 14 MB: it is imported when the endpoint is wanted. Its server answers in a thread of its own and
reads plain numbers, so a scrape never touches the event loop.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from crishim.errors import CrishimError, Kind
from crishim.netdev.metrics import BOUNDS
from crishim.netdev.records import State
from crishim.node import Node

OPERATIONS = ("attach", "return")


class Collector:
    """Turns the daemon's counters into metric families at each scrape."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._metrics = node.netdevices.metrics

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        durations = HistogramMetricFamily(
            "crishim_netdevice_duration_seconds", "Time to attach or return one network device.", labels=["operation"]
        )
        for operation in OPERATIONS:
            seen = self._metrics.histogram(operation)
            buckets = [(str(bound), float(n)) for bound, n in zip(BOUNDS, seen.buckets, strict=True)]
            durations.add_metric([operation], [*buckets, ("+Inf", float(seen.total))], seen.seconds)
        yield durations
        failures = CounterMetricFamily(
            "crishim_netdevice_failures", "Failed attachments and returns.", labels=["operation", "kind"]
        )
        for (operation, kind), count in self._metrics.failures().items():
            failures.add_metric([operation, kind], count)
        yield failures
        changes = CounterMetricFamily(
            "crishim_netdevice_changes", "What came upon network devices in their pods.", labels=["condition"]
        )
        for condition, count in self._metrics.changes().items():
            changes.add_metric([condition], count)
        yield changes
        yield self._devices(GaugeMetricFamily)
        counts: dict[tuple[str, str], int] = {}
        objects_now = [("pod", str(p.state)) for p in self._node.pods]
        objects_now += [("container", str(c.state)) for c in self._node.containers]
        for key in objects_now:
            counts[key] = counts.get(key, 0) + 1
        objects = GaugeMetricFamily("crishim_objects", "Pods and containers by state.", labels=["kind", "state"])
        for (kind, state), count in counts.items():
            objects.add_metric([kind, state], count)
        yield objects
        yield from self._nri()

    def _nri(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

        label = ["plugin"]
        plugins = GaugeMetricFamily("crishim_nri_plugins", "NRI plugins that are called.")
        calls = SummaryMetricFamily("crishim_nri_call_duration_seconds", "Calls NRI plugins answered.", labels=label)
        refused = CounterMetricFamily("crishim_nri_refused_calls", "Calls answered with an error.", labels=label)
        unanswered = CounterMetricFamily("crishim_nri_unanswered_calls", "Calls without an answer.", labels=label)
        ready, counters = self._node.nri.totals()
        plugins.add_metric([], ready)
        for name, seen in counters.items():
            calls.add_metric([name], sum(seen.calls.values()) - seen.unanswered, seen.seconds)
            refused.add_metric([name], seen.refused)
            unanswered.add_metric([name], seen.unanswered)
        yield from (plugins, calls, refused, unanswered)

    def _devices(self, family: Any) -> Any:
        """Devices in pods by what is not as they were attached; "as attached" for the rest."""
        devices = family("crishim_netdevices", "Network devices in pods by condition.", labels=["condition"])
        netdevices = self._node.netdevices
        now = Counter(
            condition
            for attachment in netdevices.attachments()
            if attachment.state is State.READY
            for condition in netdevices.presence(attachment).conditions or ("as attached",)
        )
        for condition, count in now.items():
            devices.add_metric([condition], count)
        return devices


def serve(address: str, collector: Collector) -> Callable[[], None]:
    """Serve /metrics on "HOST:PORT"; the function that stops it. UNAVAILABLE if the address cannot be had."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(collector)
    prometheus_client.ProcessCollector(registry=registry)
    host, _, port = address.rpartition(":")
    try:
        server, thread = prometheus_client.start_http_server(int(port), host.strip("[]"), registry)
    except (OSError, ValueError) as error:
        raise CrishimError(Kind.UNAVAILABLE, f"metrics.address: cannot listen on {address}: {error}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
