"""Network devices of the host that are moved into pods and returned as they were.

Read driver.py first, then plan.py, transaction.py and return_device.py; records.py has the states. A driver (layer 2):
imports linux/ and the vocabulary; operations/, node.py, cri/ and cli/ import it.
"""
