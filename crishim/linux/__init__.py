"""The kernel, one subject a file: namespaces, mounts, cgroups, processes, programs, threads.

Layer 1: imports the vocabulary only; everything above may import it.
"""
