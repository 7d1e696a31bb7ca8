"""config.json: a list of editors, each adds one subject to the draft. Read build.py first, then inputs.py.

validate.py and *_checks.py check requests. A driver (layer 2): imports linux/ and the vocabulary; operations/ imports
it.
"""
