"""The commands, one a file; __main__.py parses the arguments. daemon.py and serve.py build the daemon and run it.

May import everything; only __main__.py imports it. Expensive modules are imported by the command that needs them.
"""
