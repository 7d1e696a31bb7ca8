"""SPDY/3.1: session.py and what it is made of are a protocol machine that knows no I/O; streams.py has its streams over
asyncio, transport.py what carries its bytes. Knows nothing of Kubernetes.
Imported by remotecommand/ and portforward/; imports connection.py and linux/.
"""
