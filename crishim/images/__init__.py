"""Images: pulled by skopeo into a containers/storage store, read from it, and mounted as root file systems.

transport.py changes the store, store.py reads it, rootfs.py mounts. A driver (layer 2): imports linux/ and the
vocabulary; operations/ and node.py import it.
"""
