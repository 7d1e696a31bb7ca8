"""WebSocket, and Kubernetes' numbered channels in it: protocol.py, frames.py and channel_codec.py are protocol machines
without I/O; channels.py has the channels over asyncio. Imported late, by remotecommand/ and portforward/: the
websockets library costs 5 MB. Imports connection.py and linux/.
"""
