"""Container Device Interface: device names are resolved to edits of config.json, from files that root has installed.

format.py parses a file, edits.py finds the devices, apply.py applies the edits to a spec. A driver (layer 2): imports
linux/ and the vocabulary; operations/ and node.py import it.
"""
