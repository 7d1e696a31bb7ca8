"""Port forwarding (Kubernetes' portforward): protocol.py is pure, spdy.py and websocket.py serve a client over either,
copy.py moves the bytes of one connection.
Imported by endpoints.py; imports spdy/, websocket/ and runtime.py.
"""
