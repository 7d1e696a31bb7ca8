"""The Node Resource Interface (NRI): plugins get events of pods and containers, and adjust containers.

mux.py, ttrpc.py and session.py are the wire protocol; adjustments.py and what it imports merge what plugins request. A
driver (layer 2): imports linux/ and the vocabulary; operations/ and node.py import it.
"""
