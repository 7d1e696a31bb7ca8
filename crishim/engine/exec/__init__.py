"""Commands in running containers, by the OCI runtime's `exec`: session.py (interactive) and sync.py (ExecSync) over
child.py, the runtime's process; crun.py and runc.py are what these two do differently.
Imported by operations/ and cli/; imports engine/runtime.py and linux/ only.
"""
