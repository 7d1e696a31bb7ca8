"""The commands, one a file; __main__.py reads the arguments. daemon.py and serve.py put the daemon together and run it.

May import everything; only __main__.py imports it. What is heavy is imported by the command that needs it.
"""
