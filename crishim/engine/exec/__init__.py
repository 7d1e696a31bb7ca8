"""Run commands in containers by the OCI runtime's `exec`: session.py (interactive) and sync.py (ExecSync) use child.py,
the runtime's process; crun.py and runc.py have the differences between these two. Imported by operations/ and cli/;
imports engine/runtime.py and linux/ only.
"""
