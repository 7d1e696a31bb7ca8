"""Layer 4, the RPCs: decode the request, call the operation, encode the response. One subject a file.

rpcs.py collects the functions by name, errors.py has the one table of codes, stream/ is the only HTTP. Imports
everything below; cli/ imports it.
"""
