"""The streaming server of exec, attach and port-forward: HTTP, SPDY and WebSocket are used only here. server.py lists
its files in the order a connection uses them. Used by cli/ and node_streams.py; it reaches the node through
runtime.py's protocols only, so it imports linux/, model, errors and the CRI messages only.
"""
