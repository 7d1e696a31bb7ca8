"""Layer 1: protocols as pure state machines (bytes in, events out), and under linux/ one kernel subject a file."""
