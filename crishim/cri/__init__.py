"""Layer 4, the only place that knows RPCs: decode, call the verb, encode. One subject a file; server.py joins them."""
