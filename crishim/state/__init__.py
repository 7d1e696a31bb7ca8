"""Records of pods and containers, in memory and on disk; the names they reserve, and the locks.

Read store.py first. A driver (layer 2): imports linux/ and the vocabulary; operations/, node.py and cri/ import it.
"""
