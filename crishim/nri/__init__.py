"""The Node Resource Interface: plugins see and shape pods and containers.

mux.py, ttrpc.py and session.py are the wire; adjustments.py with what stands below it is what plugins may
ask for. A driver (layer 2): imports linux/ and the vocabulary; operations/ and node.py import it.
"""
