"""Container Device Interface: names of devices in JSON files of root's, and the edits of config.json they stand for.

format.py reads a file, edits.py finds the devices named, apply.py works the edits into a spec. A driver (layer 2):
imports linux/ and the vocabulary; operations/ and node.py import it.
"""
