"""A node with a real kubelet in standalone mode, and a cluster of one such node; isolated from the machine (host.py).

For hack/node, hack/cluster and tests/kubelet.
"""
