"""exec and attach (Kubernetes' remotecommand): protocol.py is pure, serve.py copies between a client's streams and a
process's, spdy.py and websocket.py are the client's streams over either. Imported by endpoints.py; imports spdy/,
websocket/ and runtime.py.
"""
