"""Layer 4, the only place that knows RPCs: decode, call the operation, encode. One subject a file."""
