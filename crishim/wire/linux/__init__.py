"""Kernel interfaces, one subject a file. Everything here is synchronous and may block: call it from a thread, except
programs.py, which is asyncio's own."""
