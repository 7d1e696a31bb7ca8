"""rtnetlink and generic netlink: messages, then one kind of object a file.

Part of linux/ (layer 1); read rtnetlink.py first.
"""
