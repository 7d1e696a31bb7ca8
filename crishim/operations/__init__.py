"""The operations behind the RPCs: one a file, a coroutine that takes the Node first. Read run_pod.py first.

Layer 3: imports drivers (2), linux/ (1) and the vocabulary (0); cri/ and cli/ import it.
"""
