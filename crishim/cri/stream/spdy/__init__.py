"""SPDY/3.1: session.py and what it uses are a protocol machine without I/O; streams.py has its streams over asyncio,
transport.py reads and writes its bytes. Nothing here is specific to Kubernetes. Imported by remotecommand/ and
portforward/; imports connection.py and linux/.
"""
