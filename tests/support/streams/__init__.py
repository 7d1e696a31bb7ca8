"""Clients of a streaming server: SPDY and WebSocket, remotecommand and port-forward over both, blocking and in asyncio.

For tests/ and hack/; imports nothing of theirs.
"""
