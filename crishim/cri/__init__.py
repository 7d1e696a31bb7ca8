"""Layer 4, the only place that knows RPCs: decode, call the operation, encode. One subject a file.

rpcs.py collects the functions by name, errors.py has the one table of codes, stream/ is the only HTTP. Imports
everything below; cli/ imports it.
"""
