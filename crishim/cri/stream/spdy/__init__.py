"""SPDY/3.1 as kubectl speaks it: a protocol machine that knows no I/O (session.py and what it is made of), and its
streams over asyncio (streams.py, remote.py, forward.py).

Part of cri/ (layer 4).
"""
