"""A node with a real kubelet in standalone mode, a cluster of one such node, and a cluster of several.

They are isolated from the machine (host.py), and several nodes from each other (machine.py).

For hack/node, hack/cluster and tests/kubelet.
"""
