"""exec and attach (Kubernetes' remotecommand): protocol.py is pure, serve.py joins a client's streams to a process's,
spdy.py and websocket.py are a client's streams over either.
Imported by endpoints.py; imports spdy/, websocket/ and runtime.py.
"""
