"""What tests/ and hack/ are built of: a daemon on scratch directories, pods, a registry, isolation, a kubelet and a
cluster, stream clients, and a Node of fakes.

Below both: it imports crishim/ and nothing of theirs (tests/unit/test_layers.py).
"""
