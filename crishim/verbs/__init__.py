"""The domain: one verb a file, one public coroutine each. Read run_pod.py first."""
