"""The daemon's own metrics for Prometheus, served over HTTP if metrics.address is set.

prometheus_client takes 14 MB of memory: it is imported only then. The counters are read in the threads of http.py.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import crishim
from crishim.config import MetricsSettings
from crishim.cri.metrics import http
from crishim.histograms import ALL, Histogram
from crishim.netdev.records import State
from crishim.node import Node


class Collector:
    """Turns the daemon's counters into metric families at each scrape."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._metrics = node.netdevices.metrics

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

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
        yield from _observed(self._metrics.durations)
        lost = CounterMetricFamily("crishim_trace_lost_calls", "Traced calls that reached no collector.")
        lost.add_metric([], self._node.traces.lost)
        yield lost

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
        """Devices in pods by condition; "as attached" for those without one."""
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


def serve(settings: MetricsSettings, collector: Collector) -> Callable[[], None]:
    """Serve /metrics at the settings' address, and return the function that stops it. Raises UNAVAILABLE."""
    import prometheus_client

    registry = prometheus_client.CollectorRegistry(auto_describe=False)
    registry.register(collector)
    prometheus_client.ProcessCollector(registry=registry)
    application = prometheus_client.make_wsgi_app(registry)
    return http.serve(settings.address, settings.tls_cert, settings.tls_key, application)


def _observed(durations: Histogram) -> Iterator[Any]:
    """The daemon's histograms, that of its network devices included, and crishim_build_info."""
    from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily

    for histogram in (*ALL, durations):
        family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
        bounds = [*map(str, histogram.bounds), "+Inf"]
        for labels, seen in histogram.seen().items():
            buckets = [(bound, float(count)) for bound, count in zip(bounds, seen.buckets, strict=True)]
            family.add_metric(labels, buckets, seen.seconds)
        yield family
    build = GaugeMetricFamily("crishim_build_info", "Which crishim this is; always 1.", labels=["version", "python"])
    build.add_metric([crishim.__version__, platform.python_version()], 1)
    yield build
