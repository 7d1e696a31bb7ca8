"""The streaming server of exec, attach and port-forward: the only place that knows HTTP, SPDY and WebSocket.
server.py lists its files in the order a connection meets them. Used by cli/ and node_streams.py; of the node it knows
what runtime.py says, so it imports linux/, model, errors and the CRI messages only.
"""
