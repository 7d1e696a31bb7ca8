"""Prometheus: the metrics of CRI (ListPodSandboxMetrics) and the daemon's own, over HTTP.

Part of cri/ (layer 4).
"""
