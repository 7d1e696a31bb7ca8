"""The domain: one operation a file, a coroutine that takes the Node first. Read run_pod.py first."""
