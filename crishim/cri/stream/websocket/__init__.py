"""WebSocket and its channels: a protocol machine that knows no I/O (protocol.py, frames.py, channel_codec.py), and the
channels over asyncio (channels.py, remote.py, forward.py).

Part of cri/ (layer 4).
"""
