"""Runs containers: conmon (conmon.py, logs.py, attach.py), the OCI runtime (runtime.py, handlers.py, checkpoint.py,
exec/), and what a pod has before any container (sandbox.py, init.py). A driver of layer 2: imported by operations/,
node.py and cli/; imports linux/ and the vocabulary, no other driver.
"""
